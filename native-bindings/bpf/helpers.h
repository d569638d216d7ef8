/* SPDX-License-Identifier: Apache-2.0 */
/* Functions of the kernel that the programs call, by number. See include/uapi/linux/bpf.h. */
#pragma once
#include <linux/bpf.h>
#include <linux/types.h>

static void *(*map_lookup)(void *map, const void *key) = (void *)BPF_FUNC_map_lookup_elem;
static long (*map_update)(void *map, const void *key, const void *value, __u64 flags) =
	(void *)BPF_FUNC_map_update_elem;
static void *(*sk_storage_get)(void *map, void *sk, void *value, __u64 flags) = (void *)BPF_FUNC_sk_storage_get;
static __u64 (*ktime_get_ns)(void) = (void *)BPF_FUNC_ktime_get_ns;
static __u32 (*get_random)(void) = (void *)BPF_FUNC_get_prandom_u32;
static __u64 (*get_socket_cookie)(void *ctx) = (void *)BPF_FUNC_get_socket_cookie;
static __u64 (*get_netns_cookie)(void *ctx) = (void *)BPF_FUNC_get_netns_cookie;
#ifndef NO_RETVAL
static int (*set_retval)(int retval) = (void *)BPF_FUNC_set_retval;
#endif
