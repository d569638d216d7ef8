#!/bin/sh
# Starts a program as an engine does that gives the container the host's network: in the network namespace and as the
# user of the caller, who is root.
# usage: container.sh ROOT DROPPED_CAPABILITIES PROC_SYS MOUNTS PROGRAM [ARG...]
#   PROC_SYS  ro or rw
#   MOUNTS    lines SOURCE TARGET ro|rw
set -e
if [ -z "$SVCPLANE_CONTAINER" ]; then
  SVCPLANE_CONTAINER=$(mktemp -d)
  export SVCPLANE_CONTAINER
  # In the place of this process, as everything here: what is sent to it is for the program.
  exec unshare --mount --propagation private sh "$0" "$@"
fi
image=$1 dropped=$2 proc_sys=$3 mounts=$4 program=$5
shift 5
root=$SVCPLANE_CONTAINER
unset SVCPLANE_CONTAINER
mount --bind "$image" "$root"
mount -o remount,bind,ro "$root"
mount -t proc proc "$root/proc"
if [ "$proc_sys" = ro ]; then
  mount --bind "$root/proc/sys" "$root/proc/sys"
  mount -o remount,bind,ro "$root/proc/sys"
fi
mount -t sysfs -o ro sys "$root/sys"
mount -t tmpfs -o mode=755 dev "$root/dev"
for device in null zero random urandom; do
  : >"$root/dev/$device"
  mount --bind "/dev/$device" "$root/dev/$device"
done
mount -o remount,ro "$root/dev"
echo "$mounts" | while read -r source target mode; do
  [ -n "$source" ] || continue
  mount --bind "$source" "$root$target"
  mount -o "remount,bind,$mode" "$root$target"
done
exec setpriv --no-new-privs capsh --chroot="$root" --drop="$dropped" --shell="$program" -- "$@"
