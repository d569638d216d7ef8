#!/bin/sh
# Makes the table of captured.nft, then with an argument does to it what somebody else might, and prints it as
# libnftables lists it: as JSON, numeric, without counts. linux-6.1.json and linux-7.2.json are its output, and
# linux-7.2-altered.json that of `capture.sh altered`, with nft 1.0.6 (Debian 1.0.6-2+deb12u2) on Debian's
# 6.1.0-56-amd64 and on Linux 7.2.13.
nft -f "$(dirname "$0")/captured.nft" || exit
if [ "$1" = altered ]; then
  nft -f - <<'END'
add element inet svcplane vips4 { 203.0.113.77 }
add element inet svcplane masquerade4 { 203.0.113.77 . icmp . 80 }
add element inet svcplane node-pods4 { 192.0.2.1-192.0.2.5 }
add set inet svcplane theirs { type ipv4_addr; timeout 5s; }
add chain inet svcplane theirs
add chain inet svcplane input { policy drop; }
insert rule inet svcplane input tcp dport 22 accept
add rule inet svcplane refuse accept comment "theirs"
add counter inet svcplane hits
add limit inet svcplane slow { rate 400/minute; }
END
fi
nft --json --numeric --stateless list table inet svcplane
