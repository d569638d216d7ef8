# shellcheck shell=bash
# Builds the initramfs that turns the host's files into the root of the QEMU lab. Sourced by kernels.sh.
# shellcheck disable=SC2154 # files and work are scripts/lab's

# Prints the path of the initramfs for a kernel version: kept in the user's cache, as building it takes a second.
initramfs_for() {
  local version=$1 cache=${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/svcplane/lab key file
  key=$(cat "$files/initramfs.sh" "$files/initramfs-init" | sha256sum)
  mkdir -p "$cache" 2>/dev/null && [[ -w $cache ]] || cache=$work
  file=$cache/initramfs-$version-${key:0:12}.gz
  if [[ ! -s $file || /lib/modules/$version/modules.dep -nt $file ]]; then
    build_initramfs "$version" "$work/initramfs" >"$file.$$"
    mv "$file.$$" "$file" # a lab that starts meanwhile must not read half of it
  fi
  echo "$file"
}

build_initramfs() {
  local version=$1 tree=$2 number=100 module name
  mkdir -p "$tree"/{bin,modules,proc,sys,dev,host,changes,root}
  cp "$(command -v busybox)" "$tree/bin/busybox"
  cp "$files/initramfs-init" "$tree/init"
  # Numbered in the order of their dependencies, which is the order in which the init loads them.
  while read -r module; do
    name=$(basename "$module")
    case $module in
      *.xz) xz -dc "$module" ;;
      *.zst) zstd -dcq "$module" ;;
      *.gz) gzip -dc "$module" ;;
      *) cat "$module" ;;
    esac >"$tree/modules/$number-${name%%.ko*}.ko"
    number=$((number + 1))
  done < <(
    for name in virtio_pci virtio_console 9pnet_virtio 9p overlay; do
      modprobe --set-version "$version" --show-depends "$name"
    done | awk '$1 == "insmod" && !seen[$2]++ { print $2 }'
  )
  (cd "$tree" && find . | cpio --create --format=newc --quiet | gzip -1)
  rm -rf "$tree"
}
