#!/usr/bin/env bash
# In the lab: traces each command of commands.txt into $SVCPLANE_LAB_OUT, for to-json.ts to read.
set -euo pipefail
export PATH=$PATH:/usr/sbin:/sbin
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
out=$SVCPLANE_LAB_OUT
ip link set lo up
uname -r >"$out/kernel"
ipvsadm --version >"$out/ipvsadm"
number=0
while read -r -a words; do
  [[ ${#words[@]} -gt 0 && ${words[0]} != '#'* ]] || continue
  printf -v name '%03d' "$number"
  number=$((number + 1))
  echo "ipvsadm ${words[*]}" >"$out/$name.command"
  # Peeked datagrams are traced, too; to-json.ts drops them.
  code=0
  strace -e trace=sendmsg,recvmsg -e status=successful -e read=all -e write=all -o "$out/$name.trace" \
    ipvsadm "${words[@]}" >/dev/null 2>&1 </dev/null || code=$?
  echo "$code" >"$out/$name.exit"
done <"$here/commands.txt"
echo "traced $number commands on Linux $(cat "$out/kernel")"
