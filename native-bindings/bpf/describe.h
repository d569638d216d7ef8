/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the object tells its loader besides programs: which maps it needs, and where the fields of the structs are. These
 * sections are data for user space; the kernel never sees them.
 */
#pragma once
#include <stddef.h>
#include <linux/bpf.h>
#include <linux/types.h>

#define SECTION(name) __attribute__((section(name), used))

/* A map, by the name of its symbol. */
struct map_definition {
	__u32 type;
	__u32 key_bytes;
	__u32 value_bytes;
	__u32 max_entries;
	__u32 flags;
	/* Of the one value in each array in a map of maps; 0 otherwise. */
	__u32 inner_value_bytes;
};
#define MAP(name, map_type, key, value, max, map_flags) \
	struct map_definition name SECTION(".socklb.maps") = {map_type, sizeof(key), sizeof(value), max, map_flags, 0}
#define MAP_OF_ARRAYS(name, key, value, max)           \
	struct map_definition name SECTION(".socklb.maps") = { \
		BPF_MAP_TYPE_HASH_OF_MAPS, sizeof(key), sizeof(__u32), max, 0, sizeof(value)}

/* A field of a struct; the whole struct where it has no name. */
struct field_description {
	char record[16];
	char field[16];
	__u32 offset;
	__u32 bytes;
};
#define WHOLE(record) {#record, "", 0, sizeof(struct record)}
#define FIELD(record, field) {#record, #field, offsetof(struct record, field), sizeof(((struct record *)0)->field)}

struct constant_description {
	char name[24];
	__u32 value;
};
#define CONSTANT(name) {#name, name}
