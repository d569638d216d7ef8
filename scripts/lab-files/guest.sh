#!/bin/bash
# shellcheck disable=SC1091,SC2154 # scripts/lab writes /run/lab/job, which sets checkout, merge, environment, command
# The part all kernels of the lab share: prepares the mounts, runs the job, leaves its exit code, powers off.
# In a machine LAB_STDOUT and LAB_STDERR name the devices for its output; natively they are not set.
export PATH=$PATH:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
source /run/lab/job

# The caller's /tmp is hidden, but not the checkout if it lies there.
if [[ $checkout == /tmp/* ]]; then
  mkdir /run/checkout
  mount --bind "$checkout" /run/checkout
fi
mount -t tmpfs -o mode=1777 tmp /tmp
if [[ $checkout == /tmp/* ]]; then
  mkdir -p "$checkout"
  mount --move /run/checkout "$checkout"
fi

mountpoint -q /sys/fs/cgroup || mount -t cgroup2 cgroup /sys/fs/cgroup
mountpoint -q /sys/fs/bpf || mount -t bpf bpf /sys/fs/bpf
if [[ -v LAB_STDOUT ]]; then
  mkdir -p /dev/pts /dev/shm
  mount -t devpts -o ptmxmode=666 devpts /dev/pts
  mount -t tmpfs -o mode=1777 shm /dev/shm
  ln -sfn /proc/self/fd /dev/fd
  ln -sfn fd/1 /dev/stdout
  ln -sfn fd/2 /dev/stderr
  ln -sfn pts/ptmx /dev/ptmx
fi
hostname lab
ip link set lo up
modprobe --quiet ip_vs # where it is a module; its schedulers, dummy and the rest are loaded by the kernel on demand

run() {
  cd "$checkout" && env -i "${environment[@]}" "${command[@]}" </dev/null
}

if [[ ! -v LAB_STDOUT ]]; then
  if [[ $merge == yes ]]; then run 2>&1; else run; fi
  echo $? >/run/lab/status
  exit
fi

# Through pipes, because the devices can be opened once only and programs do open /dev/stdout.
exec 3> >(exec cat >"$LAB_STDOUT")
readers=$!
if [[ $merge == yes ]]; then
  exec 4>&3
else
  exec 4> >(exec cat >"$LAB_STDERR")
  readers+=" $!"
fi
run >&3 2>&4 3>&- 4>&-
status=$?

# What the command left behind would hold the pipes open.
for process in /proc/[0-9]*; do
  process=${process#/proc/}
  [[ " 1 $readers " == *" $process "* ]] || kill -KILL "$process" 2>/dev/null
done
exec 3>&- 4>&-
# shellcheck disable=SC2086 # one or two process ids
wait $readers
echo "$status" >/run/lab/status
sync
echo o >/proc/sysrq-trigger
sleep 10
