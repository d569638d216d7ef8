/** Constants of include/uapi/linux/sock_diag.h, inet_diag.h and include/net/tcp_states.h, read from Linux 6.1. */

/** `nlmsg_type`: lists sockets of a family and protocol, and is the type of each that is listed. */
export const SOCK_DIAG_BY_FAMILY = 20;
/** `nlmsg_type`: ends a socket. Needs CONFIG_INET_DIAG_DESTROY, and CAP_NET_ADMIN in the socket's network namespace. */
export const SOCK_DESTROY = 21;

/** `sizeof(struct inet_diag_msg)`. */
export const INET_DIAG_MSG_BYTES = 72;

/**
 * `struct inet_diag_sockid`: which socket it is, in requests behind 8 bytes and in answers behind 4. Ports and
 * addresses are in network byte order, the interface and the cookie in host byte order.
 */
export const SOCKET_ID = {
  bytes: 48,
  destinationPort: 2,
  destination: 20,
  cookie: 40,
} as const;

/** Bits of `idiag_states`: a UDP socket is in TCP_ESTABLISHED while it is connected. */
export const SOCKET_STATE = { established: 1 << 1 } as const;

export const IPPROTO_UDP = 17;
