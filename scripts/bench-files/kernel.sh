#!/usr/bin/env bash
# In the lab: rounds of svcplane and ipvsadm -R in turn, each in a fresh network namespace, then their ratios.
set -euo pipefail
services=$1 rounds=$2
export PATH=$PWD/node_modules/.bin:$PATH
for ((round = 1; round <= rounds; round++)); do
  for tool in svcplane ipvsadm; do
    ip netns add bench
    ip -n bench link set lo up
    ip netns exec bench node --disable-warning=ExperimentalWarning scripts/bench-files/kernel.ts "$tool" "$services"
    ip netns del bench
  done
done | node --disable-warning=ExperimentalWarning scripts/bench-files/ratios.ts "$services"
