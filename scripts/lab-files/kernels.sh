# shellcheck shell=bash
# The kernels scripts/lab can use: which can be, why the others cannot, and how each is started. Sourced by it.
# shellcheck disable=SC2154,SC2034 # checkout, files, work, share, results, memory and vm are the sourcing script's

# Sets reason to why a kernel cannot be used, and succeeds; fails if it can.
reason_against() {
  reason=''
  case $1 in
    native) reason_against_native ;;
    uml) reason_against_uml ;;
    qemu) reason_against_qemu ;;
  esac
  [[ -n $reason ]]
}

# Asks the kernel itself: a module list misses what is built in or loads on demand.
reason_against_native() {
  if ((EUID != 0)); then
    reason='needs root'
  elif ! command -v ipvsadm >/dev/null; then
    reason='ipvsadm is not installed (scripts/setup --lab)'
  elif ! unshare --net --mount --pid --fork true 2>/dev/null; then
    reason='namespaces cannot be made here'
  elif ! unshare --net ipvsadm -Ln >/dev/null 2>&1; then
    reason="the host's kernel $(uname -r) has no IPVS in a network namespace"
  fi
}

reason_against_uml() {
  if [[ -z ${SVCPLANE_LAB_UML:-} ]]; then
    reason='SVCPLANE_LAB_UML is not set'
  elif [[ ! -x $SVCPLANE_LAB_UML ]]; then
    reason="SVCPLANE_LAB_UML=$SVCPLANE_LAB_UML is not an executable"
  fi
}

reason_against_qemu() {
  local tool
  for tool in qemu-system-x86_64 busybox cpio modprobe; do
    command -v "$tool" >/dev/null || { reason="$tool is not installed (scripts/setup --lab)"; return; }
  done
  if [[ -z $(newest_kernel) ]]; then
    reason='no kernel in /boot that has its modules (scripts/setup --lab)'
  elif [[ ! -r /boot/vmlinuz-$(newest_kernel) ]]; then
    reason="/boot/vmlinuz-$(newest_kernel) is readable by root only"
  fi
}

# The version of the newest kernel that has an image and the modules the lab needs; a cloud kernel has not.
newest_kernel() {
  local image version
  for image in /boot/vmlinuz-*; do
    version=${image#/boot/vmlinuz-}
    if modprobe --quiet --dry-run --all --set-version "$version" ip_vs dummy 9p 9pnet_virtio virtio_console overlay; then
      echo "$version"
    fi
  done | sort -V | tail -n 1
}

describe() {
  case $1 in
    native) uname -r ;;
    uml) echo "${SVCPLANE_LAB_UML##*/}" ;;
    qemu) echo "$(newest_kernel), $([[ $(accelerator) == kvm ]] && echo KVM || echo emulated)" ;;
  esac
}

# A KVM that can be opened may still not run a guest (nested virtualisation), so a guest of two instructions, placed
# where a processor starts, is run on it: it writes 0x10 to a port that ends QEMU with 2 * 0x10 + 1.
accelerator() {
  local code=0 firmware
  if [[ ${SVCPLANE_LAB_ACCEL:-} == tcg ]] || ! (exec 3<>/dev/kvm) 2>/dev/null; then
    echo tcg
    return
  fi
  firmware=$(mktemp -t svcplane-lab.XXXXXX)
  { head -c 65520 /dev/zero; printf '\xb0\x10\xe6\xf4\xf4'; head -c 11 /dev/zero; } >"$firmware"
  timeout 3 qemu-system-x86_64 -machine q35 -accel kvm -cpu max -m 16 -bios "$firmware" \
    -device isa-debug-exit,iobase=0xf4,iosize=4 -nodefaults -no-reboot -display none </dev/null >/dev/null 2>&1 || code=$?
  rm -f "$firmware"
  if ((code == 33)); then echo kvm; else echo tcg; fi
}

usable_kernels() {
  local each
  for each in native uml qemu; do
    reason_against "$each" || echo "$each"
  done
}

why_not() {
  local each text=''
  for each in "$@"; do
    if reason_against "$each"; then text+="${text:+; }$each: $reason"; fi
  done
  echo "$text"
}

# Sets chosen and because.
choose() {
  local tried=()
  for chosen in native uml qemu; do
    if ! reason_against "$chosen"; then
      because=$(why_not "${tried[@]}")
      because=${because:-it has IPVS}
      return
    fi
    [[ $chosen == uml && -z ${SVCPLANE_LAB_UML:-} ]] || tried+=("$chosen")
  done
  fail "no kernel with IPVS: $(why_not native uml qemu)"
}

list_kernels() {
  local each
  for each in native uml qemu; do
    if reason_against "$each"; then echo "$each no $reason"; else echo "$each yes $(describe "$each")"; fi
  done
}

start_native() {
  local namespaces=(--net --mount --pid --uts --fork --kill-child=KILL --mount-proc --propagation private)
  LAB_SHARE=$share LAB_RESULTS=$results unshare "${namespaces[@]}" bash "$files/native-init" </dev/null &
  vm=$!
}

# A machine's output goes through named pipes of its own (8 and 9), so that its kernel's messages never mix with it
# and the machine never changes the mode of the caller's terminal. They are held open until the machine has ended:
# a reader that finds no writer would leave.
start_machine() {
  mkfifo "$share/stdout" "$share/stderr"
  exec 8<>"$share/stdout" 9<>"$share/stderr"
  cat <"$share/stdout" 8>&- 9>&- &
  readers+=($!)
  cat <"$share/stderr" >&2 8>&- 9>&- &
  readers+=($!)
  "start_$1" </dev/null >"$work/kernel.log" 2>&1
  vm=$!
}

start_uml() {
  cp "$files/uml-init" "$share/"
  [[ $share$results != *[,\ ]* ]] || fail 'a path with a comma or a space cannot be shared with User-Mode Linux'
  ln -sfn "$results" "$share/results"
  # Storage on sockets is allocated without locks since Linux 6.19. That takes a processor that compares and swaps 16 bytes,
  # which this architecture does not, or caches with checks.
  "$SVCPLANE_LAB_UML" mem="${memory}M" seccomp=on 'slab_debug=F,kmalloc-*' root=hostfs rootfstype=hostfs rootflags=/ ro init="$share/uml-init" \
    con=null con0=null,fd:1 ssl=null ssl0=null,fd:8 ssl1=null,fd:9 quiet panic=-1 &
}

start_qemu() {
  local version initramfs accelerator cpus
  version=$(newest_kernel)
  # shellcheck source-path=SCRIPTDIR source=initramfs.sh
  source "$files/initramfs.sh"
  initramfs=$(initramfs_for "$version")
  accelerator=$(accelerator)
  # With a thread per processor, code that one has just compiled is at times not seen whole by another: about one Node
  # process in ten that strips types (a WebAssembly module) died of SIGSEGV. One thread for all is a quarter slower.
  [[ $accelerator == kvm ]] || accelerator+=,thread=${SVCPLANE_LAB_TCG:-single},tb-size=512
  cpus=$(nproc)
  qemu-system-x86_64 -machine q35 -accel "$accelerator" -cpu max -smp "$((cpus < 4 ? cpus : 4))" -m "$memory" \
    -kernel "/boot/vmlinuz-$version" -initrd "$initramfs" -append 'console=ttyS0 panic=-1 quiet mitigations=off' \
    -no-reboot -nodefaults -display none -monitor none -nic none -serial stdio \
    -virtfs "local,path=/,mount_tag=root,security_model=none,readonly=on,multidevs=remap" \
    -virtfs "local,path=${share//,/,,},mount_tag=lab,security_model=none" \
    -virtfs "local,path=${results//,/,,},mount_tag=results,security_model=none" \
    -device virtio-serial \
    -chardev "file,id=stdout,path=${share//,/,,}/stdout" -device virtserialport,chardev=stdout,name=stdout \
    -chardev "file,id=stderr,path=${share//,/,,}/stderr" -device virtserialport,chardev=stderr,name=stderr &
}
