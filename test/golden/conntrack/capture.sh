#!/usr/bin/env bash
# Captures what conntrack(8) says to a kernel and what it is answered, for test/netlink/conntrack-messages.test.ts:
#   scripts/lab --kernel uml --out test/golden/conntrack -- bash test/golden/conntrack/capture.sh
set -euo pipefail
ip link set lo up

# IPv4 answered, IPv4 of a zone, IPv6, and a flow without ports.
insert() { conntrack -I "$@" -t 300 >/dev/null 2>&1; }
insert -p udp -s 10.0.0.1 -d 10.96.0.10 --sport 1000 --dport 53 -r 10.1.0.1 -q 10.0.0.1 --reply-port-src 5353 --reply-port-dst 1000 -u SEEN_REPLY
insert -p udp -s 10.0.0.2 -d 10.96.0.10 --sport 1000 --dport 53 -r 10.1.0.2 -q 10.0.0.2 --reply-port-src 5353 --reply-port-dst 1000 --zone 9
insert -p udp -s fd00::9 -d fd00::10 --sport 1000 --dport 53 -r fd01::1 -q fd00::9 --reply-port-src 5353 --reply-port-dst 1000
insert -p icmp -s 10.0.0.1 -d 10.96.0.10 --icmp-type 8 --icmp-code 0 --icmp-id 5

trace() { strace -e trace=sendto,recvmsg -e status=successful -e read=all -e write=all "$@" 2>&1 >/dev/null; }

{
  echo "## conntrack -L" && trace conntrack -L
  echo "## conntrack -D -p udp --orig-src 10.0.0.1" && trace conntrack -D -p udp --orig-src 10.0.0.1
} >/tmp/trace

node --eval '
  const [header, ...captures] = require("node:fs").readFileSync("/tmp/trace", "utf8").split(/^## /m);
  const datagrams = (trace) => trace.split(/^(?=sendto|recvmsg)/m).filter((call) => /^(sendto|recvmsg)/.test(call));
  const hexOf = (call) => [...call.matchAll(/^ \| [0-9a-f]{5,} {2}((?:[0-9a-f]{2} {1,2}){1,16})/gm)]
    .map(([, line]) => line.replaceAll(" ", "")).join("");
  const toJson = (text) => ({
    command: text.slice(0, text.indexOf("\n")),
    datagrams: datagrams(text).map((call) => ({ direction: call.startsWith("sendto") ? "request" : "reply", hex: hexOf(call) })),
  });
  const [kernel, tool, file] = process.argv.slice(1);
  const how = "test/golden/conntrack/capture.sh: strace of conntrack, host byte order little-endian";
  const golden = { kernel: `Linux ${kernel}`, tool, how, captures: captures.map(toJson) };
  require("node:fs").writeFileSync(file, `${JSON.stringify(golden, null, 1)}\n`);
' "$(uname -r)" "$(conntrack --version)" "$SVCPLANE_LAB_OUT/linux-$(uname -r | cut -d. -f1,2).json"
