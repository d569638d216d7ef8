// SPDX-License-Identifier: (Apache-2.0 OR GPL-2.0)
/*
 * Balances sockets at connect(2) and sendmsg(2): the socket gets the address of a backend, and nothing is done per
 * packet. recvmsg(2) and getpeername(2) show the address that the application had asked for.
 *
 * Built twice: with -DNO_RETVAL for kernels before 5.18, which cannot say ECONNREFUSED: there a refusal is EPERM.
 */
#include "socklb.h"
#include "describe.h"
#include "helpers.h"
#include <linux/in.h>

#define INLINE static inline __attribute__((always_inline))
#define NS_PER_S 1000000000ULL
#define STREAM 1 /* SOCK_STREAM */
#define DGRAM 2	 /* SOCK_DGRAM */
#define ECONNREFUSED 111
#define V4_MAPPED __builtin_bswap32(0xffff) /* the third word of ::ffff:a.b.c.d, little endian */

/* Hashes are preallocated: twice as fast, and a burst of updates cannot run out of memory. */
MAP(lb_cfg, BPF_MAP_TYPE_ARRAY, __u32, struct cfg, 1, 0);
MAP(lb_svc, BPF_MAP_TYPE_HASH, struct svc_key, struct svc_val, 65536, 0);
MAP(lb_slot, BPF_MAP_TYPE_HASH, struct slot_key, struct slot_val, 131072, 0);
MAP(lb_backend, BPF_MAP_TYPE_HASH, struct backend_key, struct backend, 65536, 0);
MAP(lb_aff, BPF_MAP_TYPE_LRU_HASH, struct aff_key, struct aff_val, 65536, 0);
MAP_OF_ARRAYS(lb_maglev, struct maglev_key, struct maglev_table, 4096);
MAP(lb_sk_tcp, BPF_MAP_TYPE_SK_STORAGE, int, struct sk_flow, 0, BPF_F_NO_PREALLOC);
MAP(lb_sk_udp, BPF_MAP_TYPE_SK_STORAGE, int, struct sk_flows, 0, BPF_F_NO_PREALLOC);
MAP(lb_udp_conn, BPF_MAP_TYPE_LRU_HASH, struct conn_key, struct conn_val, 16384, 0);
MAP(lb_stat, BPF_MAP_TYPE_PERCPU_ARRAY, __u32, struct stat_val, STAT_SLOTS, 0);

static const struct field_description fields[] SECTION(".socklb.fields") = {
	WHOLE(cfg), FIELD(cfg, flags), FIELD(cfg, udp_flow_s), FIELD(cfg, reserved),
	WHOLE(svc_key), FIELD(svc_key, addr), FIELD(svc_key, port), FIELD(svc_key, proto), FIELD(svc_key, scope),
	WHOLE(svc_val), FIELD(svc_val, svc_id), FIELD(svc_val, gen), FIELD(svc_val, count), FIELD(svc_val, flags),
	FIELD(svc_val, affinity_s), FIELD(svc_val, reserved),
	WHOLE(slot_key), FIELD(slot_key, svc_id), FIELD(slot_key, gen), FIELD(slot_key, slot),
	WHOLE(slot_val), FIELD(slot_val, backend_id),
	WHOLE(backend_key), FIELD(backend_key, id),
	WHOLE(backend), FIELD(backend, addr), FIELD(backend, port), FIELD(backend, proto), FIELD(backend, state),
	FIELD(backend, svc_id), FIELD(backend, id),
	WHOLE(aff_key), FIELD(aff_key, netns_cookie), FIELD(aff_key, svc_id), FIELD(aff_key, reserved),
	WHOLE(aff_val), FIELD(aff_val, last_ns), FIELD(aff_val, backend_id), FIELD(aff_val, reserved),
	WHOLE(maglev_key), FIELD(maglev_key, svc_id),
	WHOLE(maglev_table), FIELD(maglev_table, backend_id),
	WHOLE(sk_flow), FIELD(sk_flow, vip), FIELD(sk_flow, addr), FIELD(sk_flow, vport), FIELD(sk_flow, port),
	FIELD(sk_flow, svc_id), FIELD(sk_flow, backend_id), FIELD(sk_flow, reserved), FIELD(sk_flow, last_ns),
	WHOLE(sk_flows), FIELD(sk_flows, flow), FIELD(sk_flows, next), FIELD(sk_flows, reserved),
	WHOLE(conn_key), FIELD(conn_key, sk_cookie),
	WHOLE(conn_val), FIELD(conn_val, backend_id), FIELD(conn_val, svc_id),
	WHOLE(stat_val), FIELD(stat_val, count),
};

static const struct constant_description constants[] SECTION(".socklb.constants") = {
	CONSTANT(MAGLEV_SLOTS), CONSTANT(UDP_FLOWS), CONSTANT(CFG_OFF), CONSTANT(CFG_HOST_ONLY),
	CONSTANT(CFG_HOST_NETNS_SHIFT), CONSTANT(SVC_MAGLEV),
	CONSTANT(BACKEND_ACTIVE), CONSTANT(BACKEND_TERMINATING), CONSTANT(STAT_SLOTS), CONSTANT(STAT_HIT),
	CONSTANT(STAT_MISS), CONSTANT(STAT_REFUSED), CONSTANT(STAT_STALE), CONSTANT(STAT_AFFINITY), CONSTANT(STAT_FLOW),
	CONSTANT(STAT_REVERSE), CONSTANT(STAT_NO_MEMORY),
};

/* Where a socket is sent: by the application, and then by us. */
struct target {
	struct ip_addr addr;
	__be16 port;
};

/* An offset that is another one in each turn, the verifier takes from CAP_PERFMON alone. */
#define UNROLLED _Pragma("clang loop unroll(full)")

/*
 * Keeps clang from making one of the ends of two branches. It would copy their pointers into one register, and Linux 6.18
 * warns of a bug in its verifier where one to which a number was added is copied, unless there is CAP_PERFMON.
 */
#define END_OF_BRANCH(name) asm volatile("# " name ::: "memory")

/* What became of a call. */
enum verdict { LEAVE, BALANCED, REFUSE };

/* What is known of the call while a backend is sought. */
struct call {
	struct bpf_sock_addr *ctx;
	struct svc_val svc;
	__u64 now_ns;
	__u64 netns_cookie;
	/* connect(2), not sendmsg(2) */
	int is_connect;
};

INLINE void count(__u32 stat)
{
	struct stat_val *slot = map_lookup(&lb_stat, &stat);

	if (slot)
		slot->count++;
}

INLINE int same_addr(const struct ip_addr *a, const struct ip_addr *b)
{
	/* The last word differs most. */
	return a->word[3] == b->word[3] && a->word[2] == b->word[2] && a->word[1] == b->word[1] &&
	       a->word[0] == b->word[0];
}

INLINE void copy_addr(struct ip_addr *to, const struct ip_addr *from)
{
	for (int i = 0; i < 4; i++)
		to->word[i] = from->word[i];
}

INLINE int is_within(__u64 now_ns, __u64 last_ns, __u32 seconds)
{
	return now_ns - last_ns <= seconds * NS_PER_S;
}

INLINE struct backend *find_backend(__u32 id, __u32 svc_id)
{
	struct backend *backend = map_lookup(&lb_backend, &id);

	return backend && backend->id == id && backend->svc_id == svc_id ? backend : 0;
}

INLINE int same_service(const struct svc_val *a, const struct svc_val *b)
{
	return a->svc_id == b->svc_id && a->gen == b->gen && a->count == b->count && a->flags == b->flags &&
	       a->affinity_s == b->affinity_s;
}

/*
 * Copies the row of a service. The kernel gives the memory of a replaced row to another one without waiting for readers,
 * and a row does not tell its key: so look again, and believe the copy only if the row is still there. What is compared
 * are the rows and not where they are: to compare pointers a process needs CAP_PERFMON. The row of another service has
 * another number.
 */
INLINE int read_service(struct svc_key *key, struct svc_val *copy)
{
	for (int attempt = 0; attempt < 3; attempt++) {
		struct svc_val *row = map_lookup(&lb_svc, key);

		if (!row)
			return 0;
		*copy = *row;
		/* Loads before must not be done after. */
		asm volatile("" ::: "memory");
		row = map_lookup(&lb_svc, key);
		if (row && same_service(row, copy))
			return 1;
	}
	return 0;
}

/* Mixes all bits into the lower ones: the finalizer of MurmurHash3. */
INLINE __u32 mix(__u64 x)
{
	x ^= x >> 33;
	x *= 0xff51afd7ed558ccdULL;
	x ^= x >> 33;
	x *= 0xc4ceb9fe1a85ec53ULL;
	return (__u32)(x ^ (x >> 33));
}

INLINE struct backend *by_slot(const struct svc_val *svc)
{
	struct slot_key key = {.svc_id = svc->svc_id, .gen = svc->gen, .slot = get_random() % svc->count};
	struct slot_val *slot = map_lookup(&lb_slot, &key);

	return slot ? find_backend(slot->backend_id, svc->svc_id) : 0;
}

INLINE struct backend *by_maglev(const struct call *call)
{
	__u32 zero = 0, svc_id = call->svc.svc_id;
	void *array = map_lookup(&lb_maglev, &svc_id);
	struct maglev_table *table = array ? map_lookup(array, &zero) : 0;
	__u32 slot = mix(call->netns_cookie) % MAGLEV_SLOTS;

	if (!table)
		return 0;
	/* clang knows the bound and would leave out its check; the verifier does not know it. */
	asm volatile("" : "+r"(slot));
	return slot < MAGLEV_SLOTS ? find_backend(table->backend_id[slot], svc_id) : 0;
}

INLINE struct backend *by_affinity(const struct call *call, struct aff_key *key)
{
	struct aff_val *last = map_lookup(&lb_aff, key);
	struct backend *backend;

	if (!last || !is_within(call->now_ns, last->last_ns, call->svc.affinity_s))
		return 0;
	backend = find_backend(last->backend_id, call->svc.svc_id);
	if (!backend || backend->state != BACKEND_ACTIVE)
		return 0;
	last->last_ns = call->now_ns;
	count(STAT_AFFINITY);
	return backend;
}

INLINE void note_connection(const struct call *call, __u32 backend_id)
{
	__u64 cookie;
	struct conn_val value = {.backend_id = backend_id, .svc_id = call->svc.svc_id};

	if (!call->is_connect)
		return;
	cookie = get_socket_cookie(call->ctx);
	map_update(&lb_udp_conn, &cookie, &value, BPF_ANY);
}

/*
 * A flow by its number. Without CAP_PERFMON the verifier takes no offset that it knows to be another one on another path;
 * so it is made to know nothing of it but its range, by means of any number that it does not know.
 */
INLINE struct sk_flow *flow_at(struct sk_flows *flows, __u64 number, __u64 any)
{
	asm volatile("%0 ^= %1\n\t%0 ^= %1" : "+r"(number) : "r"(any));
	return &flows->flow[number & (UDP_FLOWS - 1)];
}

/*
 * A UDP socket stays with its backend: a datagram of a flow that went elsewhere is no use to either, and the reply to a
 * connected socket would not be taken.
 */
INLINE int by_flow(const struct call *call, struct sk_flows *flows, struct target *target, __u32 udp_flow_s)
{
	__u64 newest = 0, at = 0;
	struct sk_flow *flow;

	UNROLLED
	for (int i = 0; i < UDP_FLOWS; i++) {
		const struct sk_flow *each = &flows->flow[i];

		if (each->svc_id != call->svc.svc_id || each->vport != target->port || each->last_ns <= newest ||
		    !same_addr(&each->vip, &target->addr))
			continue;
		newest = each->last_ns;
		at = i;
	}
	flow = flow_at(flows, at, newest);
	if (!newest || !is_within(call->now_ns, newest, udp_flow_s) || !find_backend(flow->backend_id, flow->svc_id))
		return 0;
	flow->last_ns = call->now_ns;
	note_connection(call, flow->backend_id);
	copy_addr(&target->addr, &flow->addr);
	target->port = flow->port;
	count(STAT_FLOW);
	return 1;
}

INLINE void remember(const struct call *call, struct sk_flow *flow, const struct target *target,
		     const struct backend *backend)
{
	copy_addr(&flow->vip, &target->addr);
	copy_addr(&flow->addr, &backend->addr);
	flow->vport = target->port;
	flow->port = backend->port;
	flow->svc_id = call->svc.svc_id;
	flow->backend_id = backend->id;
	flow->last_ns = call->now_ns;
}

INLINE int is_served(struct bpf_sock_addr *ctx)
{
	return (ctx->type == STREAM && ctx->protocol == IPPROTO_TCP) || (ctx->type == DGRAM && ctx->protocol == IPPROTO_UDP);
}

/* Whether the client is in the network namespace of the node. */
INLINE int is_host(const struct call *call, const struct cfg *cfg)
{
	__u64 named = cfg->flags >> CFG_HOST_NETNS_SHIFT, host = get_netns_cookie(0);

	if (named)
		host = named;
	host ^= call->netns_cookie;
	/* Of two numbers that are equal the verifier learns of each what it knows of the other, and goes both ways on. */
	asm volatile("" : "+r"(host));
	return !host;
}

INLINE enum verdict balance(struct call *call, struct target *target)
{
	struct bpf_sock_addr *ctx = call->ctx;
	const int is_udp = ctx->protocol == IPPROTO_UDP;
	struct svc_key key = {.port = target->port, .proto = is_udp ? IPPROTO_UDP : IPPROTO_TCP};
	struct aff_key aff_key = {};
	struct sk_flows *flows = 0;
	struct sk_flow *flow;
	struct backend *backend = 0;
	int is_known = 0;
	struct cfg *cfg;
	__u32 zero = 0;

	if (!is_served(ctx))
		return LEAVE;
	copy_addr(&key.addr, &target->addr);
	if (!read_service(&key, &call->svc)) {
		count(STAT_MISS);
		return LEAVE;
	}
	cfg = map_lookup(&lb_cfg, &zero);
	if (!cfg || (cfg->flags & CFG_OFF))
		return LEAVE;
	call->netns_cookie = get_netns_cookie(ctx);
	if ((cfg->flags & CFG_HOST_ONLY) && !is_host(call, cfg))
		return LEAVE;
	if (!call->svc.count) {
		count(STAT_REFUSED);
		return REFUSE;
	}
	if (!ctx->sk)
		return LEAVE;
	call->now_ns = ktime_get_ns();
	if (is_udp) {
		flows = sk_storage_get(&lb_sk_udp, ctx->sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
		/* Its datagrams could go to any backend: IPVS keeps them together. */
		if (!flows) {
			count(STAT_NO_MEMORY);
			return LEAVE;
		}
		if (by_flow(call, flows, target, cfg->udp_flow_s))
			return BALANCED;
	}
	if (call->svc.affinity_s) {
		aff_key.netns_cookie = call->netns_cookie;
		aff_key.svc_id = call->svc.svc_id;
		backend = by_affinity(call, &aff_key);
		is_known = backend != 0;
	}
	if (!backend && (call->svc.flags & SVC_MAGLEV))
		backend = by_maglev(call);
	if (!backend)
		backend = by_slot(&call->svc);
	if (!backend) {
		/* The row changed under us, and its old slots are gone: the new ones are there. Without a row it is left to IPVS. */
		count(STAT_STALE);
		if (!read_service(&key, &call->svc))
			return LEAVE;
		if (call->svc.count)
			backend = by_slot(&call->svc);
		if (!backend) {
			count(STAT_REFUSED);
			return REFUSE;
		}
	}
	if (call->svc.affinity_s && !is_known) {
		struct aff_val value = {.last_ns = call->now_ns, .backend_id = backend->id};

		aff_key.netns_cookie = call->netns_cookie;
		aff_key.svc_id = call->svc.svc_id;
		map_update(&lb_aff, &aff_key, &value, BPF_ANY);
	}
	if (is_udp) {
		note_connection(call, backend->id);
		remember(call, &flows->flow[flows->next++ & (UDP_FLOWS - 1)], target, backend);
		END_OF_BRANCH("UDP");
	} else {
		flow = sk_storage_get(&lb_sk_tcp, ctx->sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
		/* Without memory for it, TCP loses no more than getpeername(2). */
		if (flow)
			remember(call, flow, target, backend);
		END_OF_BRANCH("TCP");
	}
	copy_addr(&target->addr, &backend->addr);
	target->port = backend->port;
	count(STAT_HIT);
	return BALANCED;
}

INLINE int is_flow_from(const struct sk_flow *flow, const struct target *source)
{
	return flow->svc_id && flow->port == source->port && same_addr(&flow->addr, &source->addr);
}

/* Puts back what the application had asked for. Of two services with the same backend, the one asked last. */
INLINE int restore(struct bpf_sock_addr *ctx, struct target *source)
{
	const struct sk_flow *flow;
	struct sk_flows *flows;
	__u64 newest = 0, at = 0;

	if (!ctx->sk)
		return 0;
	if (ctx->protocol == IPPROTO_UDP) {
		flows = sk_storage_get(&lb_sk_udp, ctx->sk, 0, 0);
		if (!flows)
			return 0;
		UNROLLED
		for (int i = 0; i < UDP_FLOWS; i++) {
			const struct sk_flow *each = &flows->flow[i];

			if (each->last_ns <= newest || !is_flow_from(each, source))
				continue;
			newest = each->last_ns;
			at = i;
		}
		if (!newest)
			return 0;
		flow = flow_at(flows, at, newest);
		copy_addr(&source->addr, &flow->vip);
		source->port = flow->vport;
		END_OF_BRANCH("UDP");
	} else {
		flow = sk_storage_get(&lb_sk_tcp, ctx->sk, 0, 0);
		if (!flow || !is_flow_from(flow, source))
			return 0;
		copy_addr(&source->addr, &flow->vip);
		source->port = flow->vport;
		END_OF_BRANCH("TCP");
	}
	count(STAT_REVERSE);
	return 1;
}

INLINE struct target target4(struct bpf_sock_addr *ctx)
{
	struct target target = {.addr.word = {0, 0, V4_MAPPED, ctx->user_ip4}, .port = (__be16)ctx->user_port};

	return target;
}

INLINE struct target target6(struct bpf_sock_addr *ctx)
{
	struct target target = {.port = (__be16)ctx->user_port};

	for (int i = 0; i < 4; i++)
		target.addr.word[i] = ctx->user_ip6[i];
	return target;
}

INLINE void write4(struct bpf_sock_addr *ctx, const struct target *target)
{
	ctx->user_ip4 = target->addr.word[3];
	ctx->user_port = target->port;
}

INLINE void write6(struct bpf_sock_addr *ctx, const struct target *target)
{
	for (int i = 0; i < 4; i++)
		ctx->user_ip6[i] = target->addr.word[i];
	ctx->user_port = target->port;
}

#define ALLOW 1
#define DENY 0

INLINE int refuse(void)
{
#ifndef NO_RETVAL
	set_retval(-ECONNREFUSED);
#endif
	return DENY;
}

INLINE int forward4(struct bpf_sock_addr *ctx, const int is_connect)
{
	struct call call = {.ctx = ctx, .is_connect = is_connect};
	struct target target = target4(ctx);
	enum verdict verdict = balance(&call, &target);

	/* An IPv4 socket cannot go to an IPv6 backend. */
	if (verdict == REFUSE || target.addr.word[2] != V4_MAPPED)
		return refuse();
	if (verdict == BALANCED)
		write4(ctx, &target);
	return ALLOW;
}

INLINE int forward6(struct bpf_sock_addr *ctx, const int is_connect)
{
	struct call call = {.ctx = ctx, .is_connect = is_connect};
	struct target target = target6(ctx);
	enum verdict verdict = balance(&call, &target);

	if (verdict == REFUSE)
		return refuse();
	if (verdict == BALANCED)
		write6(ctx, &target);
	return ALLOW;
}

INLINE int reverse4(struct bpf_sock_addr *ctx)
{
	struct target source = target4(ctx);

	if (restore(ctx, &source))
		write4(ctx, &source);
	return ALLOW;
}

INLINE int reverse6(struct bpf_sock_addr *ctx)
{
	struct target source = target6(ctx);

	if (restore(ctx, &source))
		write6(ctx, &source);
	return ALLOW;
}

#define PROGRAM(name, hook, body) \
	SECTION("cgroup/" hook) int name(struct bpf_sock_addr *ctx) { return body; }

PROGRAM(lb_connect4, "connect4", forward4(ctx, 1))
PROGRAM(lb_connect6, "connect6", forward6(ctx, 1))
PROGRAM(lb_sendmsg4, "sendmsg4", forward4(ctx, 0))
PROGRAM(lb_sendmsg6, "sendmsg6", forward6(ctx, 0))
PROGRAM(lb_recvmsg4, "recvmsg4", reverse4(ctx))
PROGRAM(lb_recvmsg6, "recvmsg6", reverse6(ctx))
PROGRAM(lb_getpeer4, "getpeername4", reverse4(ctx))
PROGRAM(lb_getpeer6, "getpeername6", reverse6(ctx))

/* The kernel gives its functions to programs under the GPL only; under that licence these are, too. */
const char license_of_programs[] SECTION("license") = "GPL";
