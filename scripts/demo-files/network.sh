#!/usr/bin/env bash
# The network of the guide's examples, in network namespaces: see usage below.
set -euo pipefail

usage() {
  cat <<'END'
usage: network.sh up [NODE]
       network.sh down

Makes, inside scripts/lab, what the manifests of examples/guide speak of: a node (the network namespace NODE, else the
one it runs in) with address 172.30.0.30, its pods behind the bridge cni0, among them one called client that is behind
no Service, and a namespace "outside" with a client 172.30.0.100 and a server 172.30.0.200. Each server answers HTTP
with its name, and /cgi-bin/source with the client's address; the node's host-daemon does so on port 9100 of all
addresses that are local. Needs root and busybox. 'down' removes all but what is on the node itself.
END
}

# name, address and port of each pod's server
PODS='web-1 10.244.1.20 8080
web-2 10.244.1.21 8080
web-3 10.244.1.22 8080
web-4 10.244.1.23 8080
nginx-1 10.244.1.24 80
nginx-2 10.244.1.25 8081
myapp-1 10.244.1.26 9376
shop-1 10.244.1.27 8080
shop-2 10.244.1.28 8080
api-1 10.244.1.29 8080
client 10.244.1.40 8080'
NODE_ADDRESS=172.30.0.30

www=/run/guide-network

# Runs a command on the node.
on_node() { if [[ -n $node ]]; then ip netns exec "$node" "$@"; else "$@"; fi; }

# Commands of ip(8) on standard input, in one process, for starting them takes long where the processor is emulated.
node_ip() { ip ${node:+-n "$node"} -batch -; }

serve() { # NAME [ADDRESS:]PORT COMMAND...: a server that answers its name, started by COMMAND
  mkdir -p "$www/$1/cgi-bin"
  echo "$1" >"$www/$1/index.html"
  cp "$www/source" "$www/$1/cgi-bin/source"
  "${@:3}" busybox httpd -p "$2" -h "$www/$1"
}

make_outside() {
  ip netns add outside
  node_ip <<END
link add eth0 type veth peer name eth0 netns outside
address add $NODE_ADDRESS/24 dev eth0
link set eth0 up
END
  # A router outside that knows the way to Services, and to pods, whose address a server of case 6 sees.
  ip -n outside -batch - <<END
link set lo up
address add 172.30.0.100/24 dev eth0
address add 172.30.0.200/24 dev eth0
link set eth0 up
route add 10.96.0.0/16 via $NODE_ADDRESS
route add 10.10.0.0/26 via $NODE_ADDRESS
route add 10.244.1.0/24 via $NODE_ADDRESS
END
}

# A pod's address is a /32, so that all it sends goes through the node: an answer that took the short way over the
# bridge would not be turned back into the Service's.
make_pods() {
  node_ip <<END
link add cni0 type bridge
address add 10.244.1.1/24 dev cni0
link set cni0 up
END
  # Nor should the node tell pods of the short way.
  on_node sysctl --quiet --write net.ipv4.conf.{all,cni0}.send_redirects=0
  while read -r name address _; do
    echo "netns add $name"
  done <<<"$PODS" | ip -batch -
  while read -r name address _; do
    printf 'link add %s type veth peer name eth0 netns %s\nlink set %s master cni0 up\n' "$name" "$name" "$name"
  done <<<"$PODS" | node_ip
  # As CNI plug-ins do (hairpinMode): where br_netfilter sees bridged packets, it sends what a pod answers itself back
  # over the bridge.
  while read -r name _; do
    echo "link set $name type bridge_slave hairpin on"
  done <<<"$PODS" | node_ip
  while read -r name address _; do
    ip -n "$name" -batch - <<END
link set lo up
address add $address/32 dev eth0
link set eth0 up
route add 10.244.1.1 dev eth0
route add default via 10.244.1.1
END
  done <<<"$PODS"
}

up() {
  # A new namespace has it from the host. That Services need it is svcplane's to know.
  on_node sysctl --quiet --write net.ipv4.ip_forward=0
  make_outside
  make_pods
  mkdir -p "$www"
  # httpd says [::ffff:ADDRESS].
  cat >"$www/source" <<'END'
#!/bin/sh
address=${REMOTE_ADDR#[[]::ffff:}
printf '\n%s\n' "${address%]}"
END
  chmod +x "$www/source"
  while read -r name _ port; do
    serve "$name" "$port" ip netns exec "$name"
  done <<<"$PODS"
  serve outside-server 172.30.0.200:8088 ip netns exec outside
  serve api-server "$NODE_ADDRESS:6443" on_node
  serve host-daemon 9100 on_node
}

down() {
  local name pid
  for name in outside $(cut -d ' ' -f 1 <<<"$PODS"); do
    for pid in $(ip netns pids "$name" 2>/dev/null); do kill "$pid"; done
    ip netns del "$name" 2>/dev/null || true
  done
  rm -rf "$www"
}

node=${2:-}
case ${1:-} in
  up | down) "$1" ;;
  --help) usage ;;
  *) usage >&2; exit 1 ;;
esac
