/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The maps of the socket balancer: what user space writes and the programs read.
 *
 * Integers are in host byte order, addresses and ports in network byte order. An IPv4 address stands as ::ffff:a.b.c.d,
 * so that one set of maps serves both families and IPv4 on IPv6 sockets. There is no implicit padding. Ids are never 0,
 * and none is given to another object while elements of the old one may still be read.
 */
#pragma once
#include <linux/types.h>

/* Slots of a Maglev table: a prime, for its permutations. */
#define MAGLEV_SLOTS 16381
/* Balanced flows that one UDP socket remembers. */
#define UDP_FLOWS 8

/* An address in four words: compared and copied as such. */
struct ip_addr {
	__be32 word[4];
};

/* lb_cfg[0] */
struct cfg {
	__u32 flags; /* CFG_* */
	/* How long an idle UDP socket stays with its backend. */
	__u32 udp_flow_s;
	__u64 reserved;
};
#define CFG_OFF 1	/* leave every socket alone */
#define CFG_HOST_ONLY 2 /* leave sockets outside the network namespace of the node alone */
/* The cookie of that namespace, above the switches; 0: the initial one. Programs that know nothing of it take that. */
#define CFG_HOST_NETNS_SHIFT 2

/* lb_svc: no row, no balancing */
struct svc_key {
	struct ip_addr addr;
	__be16 port;
	__u8 proto; /* IPPROTO_TCP, IPPROTO_UDP */
	__u8 scope; /* 0 */
};
struct svc_val {
	__u32 svc_id;
	/* Which slots are in use: they are written before this, and the old ones deleted after. */
	__u32 gen;
	/* Slots of this generation, from 0; none: refuse. */
	__u32 count;
	__u32 flags; /* SVC_* */
	/* How long a client namespace stays with its backend, 0: not at all. */
	__u32 affinity_s;
	__u32 reserved;
};
#define SVC_MAGLEV 1 /* choose by lb_maglev; slots are used where it has no row */

/* lb_slot: a backend's number; greater weights have more slots */
struct slot_key {
	__u32 svc_id;
	__u32 gen;
	__u32 slot;
};
struct slot_val {
	__u32 backend_id;
};

/* lb_backend. It names itself and its service, for an element may be taken for another one while it is read. */
struct backend_key {
	__u32 id;
};
struct backend {
	struct ip_addr addr;
	__be16 port;
	__u8 proto;
	__u8 state; /* BACKEND_* */
	__u32 svc_id;
	__u32 id;
};
#define BACKEND_ACTIVE 0
#define BACKEND_TERMINATING 1 /* keeps its flows, gets no new ones by affinity */

/* lb_aff: written by the programs */
struct aff_key {
	__u64 netns_cookie; /* of the client */
	__u32 svc_id;
	__u32 reserved;
};
struct aff_val {
	__u64 last_ns; /* CLOCK_MONOTONIC */
	__u32 backend_id;
	__u32 reserved;
};

/* lb_maglev: the number of the service to an array of one table */
struct maglev_key {
	__u32 svc_id;
};
struct maglev_table {
	__u32 backend_id[MAGLEV_SLOTS];
};

/* One balanced flow of a socket: where it was sent, and where it went. */
struct sk_flow {
	struct ip_addr vip;
	struct ip_addr addr;
	__be16 vport;
	__be16 port;
	__u32 svc_id;
	__u32 backend_id;
	__u32 reserved;
	__u64 last_ns; /* CLOCK_MONOTONIC */
};
/* lb_sk_tcp has one sk_flow, lb_sk_udp this. Living sockets keep theirs: never change the two. */
struct sk_flows {
	struct sk_flow flow[UDP_FLOWS];
	__u32 next; /* the one to overwrite, modulo UDP_FLOWS */
	__u32 reserved;
};

/* lb_udp_conn: connected UDP sockets by cookie, to end those whose backend is gone */
struct conn_key {
	__u64 sk_cookie;
};
struct conn_val {
	__u32 backend_id;
	__u32 svc_id;
};

/* lb_stat: counters per CPU, by these numbers */
#define STAT_SLOTS 16
#define STAT_HIT 0	/* balanced */
#define STAT_MISS 1	/* no row */
#define STAT_REFUSED 2	/* no backend */
#define STAT_STALE 3	/* the chosen backend was gone: read the row again */
#define STAT_AFFINITY 4 /* balanced by affinity; counted as hit, too */
#define STAT_FLOW 5	/* went on with the flow of its UDP socket; no hit */
#define STAT_REVERSE 6	/* an address shown to the client was put back */
#define STAT_NO_MEMORY 7 /* a UDP socket got no storage: left alone */
struct stat_val {
	__u64 count;
};
