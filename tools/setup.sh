#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
# setup.sh: bring this machine to where `make run` and `make test` work.
#
# Each step looks first and acts only on what is missing, so a second run changes nothing
# and needs no network. Programs are installed with apt-get against the machine's own dpkg
# status, but from package lists of our own (.cache/apt): Debian 12 needs QEMU from
# bookworm-backports and the machine's apt configuration shall stay as it is. Files for the
# card come out of Debian packages that are unpacked, not installed, into .cache/.
# The mirror is the one that the machine's apt uses already.
# With the argument `judge` it also fetches what `make judge` boots: Debian's Linux for arm64 with
# its modules, a static busybox, ethtool, U-Boot (100 MB), and the Rust target of `make bench-disk`'s and `make bench-net`'s own programs in it.
# With the argument `doc` it also builds mdBook, which makes the guide, into .cache/.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

cache=$PWD/.cache
judge=$cache/judge # Linux and what runs in it
fw=$cache/firmware # what the boot partition gets: bl31.bin, start4.elf, fixup4.dat, licences
target=aarch64-unknown-none-softfloat
guest_target=aarch64-unknown-linux-musl # static programs for the Linux of `make judge`
firmware_suite=trixie # TF-A 2.12 (bookworm has 2.8) and a Pi firmware that is known to boot it
steps=7 step=0 acted=
mdbook=0.5.4
[ "${1:-}" != judge ] || steps=9
[ "${1:-}" != doc ] || steps=8

die() {
  printf 'setup  %s\n' "$@" >&2
  exit 1
}
by_hand() { # what to do where this script cannot
  die "cannot install ${1}: $2." \
    "Install by hand, then run \`make setup\` again:" \
    "  rustup target add $target; rustup component add rustfmt clippy llvm-tools" \
    "  QEMU 10 or newer with machine raspi4b (Debian: qemu-system-arm, qemu-utils;" \
    "    on Debian 12 from bookworm-backports), mtools, dosfstools, fdisk, device-tree-compiler, iperf3" \
    "  into .cache/firmware/: bl31.bin (Trusted Firmware-A, platform rpi4; Debian:" \
    "    arm-trusted-firmware), start4.elf, fixup4.dat (Debian: raspi-firmware) with their" \
    "    licence as LICENCE.broadcom, bcm2711-rpi-4-b.dtb (from a Linux kernel for arm64)"
}
# need NAME CHECK INSTALL: one step, with its progress line only if there is something to do
need() {
  step=$((step + 1))
  "$2" && return
  acted=yes
  printf 'setup  [%d/%d] %s ...\n' "$step" "$steps" "$1"
  "$3" "$1"
  "$2" || die "$1 is still missing after its installation; see the messages above"
  printf 'setup  [%d/%d] %s ... ok\n' "$step" "$steps" "$1"
}

# ------------------------------------------------------------------ Debian packages
mirror() {
  apt-get indextargets --format '$(REPO_URI) $(ORIGIN)' 'Created-By: Packages' 2>/dev/null |
    awk '$2 == "Debian" && $1 !~ /security/ { print $1; exit }'
}
# apt_private DIR COMMAND...: apt-get or apt-cache with the package lists in .cache/apt/DIR
apt_private() {
  local d=$cache/apt/$1 command=$2
  shift 2
  [ "$d" = "$cache/apt/host" ] || set -- -o Dir::State="$d" -o Dir::State::status="$d/status" \
    -o APT::Architecture=arm64 -o APT::Architectures=arm64 "$@"
  "$command" -q -o Dir::Etc::sourcelist="$d/sources.list" -o Dir::Etc::sourceparts=/dev/null \
    -o Dir::State::lists="$d/lists" -o Dir::Cache="$d/cache" -o Acquire::Languages=none \
    -o Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false -o Acquire::Retries=3 \
    -o APT::Sandbox::User=root -o DPkg::Lock::Timeout=300 "$@"
}
# apt_update DIR SUITE...: fetch the lists of these suites once in a run
apt_update() {
  local d=$cache/apt/$1 m suite key=/usr/share/keyrings/debian-archive-keyring.gpg
  [ -f "$key" ] || key=
  [ ! -f "$d/fresh" ] || return 0
  command -v apt-get dpkg-deb >/dev/null || by_hand "packages" "this machine has no apt-get and dpkg"
  m=$(mirror)
  if [ -z "$m" ]; then # a new machine has no lists yet, and without them no targets
    [ "$(id -u)" != 0 ] || apt-get -q update >/dev/null || true
    m=$(mirror)
  fi
  [ -n "$m" ] || by_hand "packages" "apt knows no Debian mirror"
  mkdir -p "$d/lists/partial" "$d/cache/archives/partial"
  : >"$d/status"
  for suite in "${@:2}"; do
    echo "deb${key:+ [signed-by=$key]} $m $suite main non-free-firmware"
  done >"$d/sources.list"
  apt_private "$1" apt-get update >"$d/log" 2>&1 || {
    cat "$d/log" >&2
    die "could not fetch Debian's package lists; is the network there?"
  }
  touch "$d/fresh"
}
# install WHAT PACKAGE...: programs, from the machine's own release and its backports
install() {
  local what=$1 codename prefer=()
  shift
  codename=$(. /etc/os-release 2>/dev/null && echo "${VERSION_CODENAME:-}")
  [ "$(id -u)" = 0 ] || by_hand "$what" "that takes root, and this is user $(id -un)"
  [ -n "$codename" ] || by_hand "$what" "no Debian release named in /etc/os-release"
  case $codename in
    bookworm)
      apt_update host bookworm bookworm-updates bookworm-backports
      prefer=(-t bookworm-backports)
      ;;
    *) apt_update host "$codename" ;;
  esac
  DEBIAN_FRONTEND=noninteractive apt_private host apt-get install -y --no-install-recommends \
    "${prefer[@]}" "$@" >"$cache/apt/install.log" 2>&1 || {
    tail -n 20 "$cache/apt/install.log" >&2
    die "apt-get install $* failed"
  }
}
# unpack PACKAGE: into .cache/apt/x/PACKAGE
unpack() {
  local d=$cache/apt/x/$1
  apt_update "$firmware_suite" "$firmware_suite" "$firmware_suite-backports"
  rm -rf "$d" && mkdir -p "$d"
  (cd "$d" && apt_private "$firmware_suite" apt-get download "$1" >/dev/null) || die "could not fetch $1"
  dpkg-deb -x "$d"/*.deb "$d"
}

# ------------------------------------------------------------------ the steps
has_rust() {
  local root
  root=$(rustc --print sysroot 2>/dev/null) || return
  compgen -G "$root/lib/rustlib/$target/lib/libcore-*.rlib" >/dev/null &&
    [ -x "$root/bin/rustfmt" ] && [ -x "$root/bin/cargo-clippy" ] &&
    compgen -G "$root/lib/rustlib/*/bin/llvm-cov" >/dev/null
}
get_rust() {
  command -v rustup >/dev/null || by_hand "$1" "there is no rustup to fetch it"
  rustup target add "$target" && rustup component add rustfmt clippy llvm-tools
}
has_qemu() {
  local v
  v=$(qemu-system-aarch64 --version 2>/dev/null | sed -n '1s/.*version \([0-9]*\).*/\1/p') || return
  [ "${v:-0}" -ge 10 ] && qemu-system-aarch64 -M help | grep -q '^raspi4b '
}
get_qemu() { install "$1" qemu-system-arm; }
has_programs() {
  local p
  for p in qemu-img mcopy dtc fsck.fat sfdisk iperf3; do
    PATH=$PATH:/sbin:/usr/sbin command -v "$p" >/dev/null || return
  done
}
get_programs() { install "$1" qemu-utils mtools device-tree-compiler dosfstools fdisk iperf3; }
has_bl31() { [ -s "$fw/bl31.bin" ]; }
get_bl31() {
  unpack arm-trusted-firmware
  cp "$cache"/apt/x/arm-trusted-firmware/usr/share/doc/arm-trusted-firmware/copyright "$fw/LICENCE.tf-a"
  cp "$cache"/apt/x/arm-trusted-firmware/usr/lib/arm-trusted-firmware/rpi4/bl31.bin "$fw/"
}
has_firmware() { [ -s "$fw/start4.elf" ] && [ -s "$fw/fixup4.dat" ] && [ -s "$fw/LICENCE.broadcom" ]; }
get_firmware() {
  unpack raspi-firmware
  local x=$cache/apt/x/raspi-firmware/usr
  cp "$x/share/doc/raspi-firmware/copyright" "$fw/LICENCE.broadcom"
  cp "$x"/lib/raspi-firmware/{start4.elf,fixup4.dat} "$fw/"
}
has_dtb() { [ -s "$fw/bcm2711-rpi-4-b.dtb" ]; }
get_dtb() { # Linux's own tree of the board: tests boot with it, the card does not carry it
  local p
  apt_update "$firmware_suite" "$firmware_suite" "$firmware_suite-backports"
  p=$(apt_private "$firmware_suite" apt-cache pkgnames 'linux-base-' | grep -E '^linux-base-[0-9].*[0-9]-arm64$' |
    sort -V | tail -n 1) # 5 MB of DTBs; before Linux 6.19 they came in the 93 MB of linux-image
  unpack "${p:-$(linux_image)}"
  cp "$(find "$cache/apt/x" -name bcm2711-rpi-4-b.dtb | head -n 1)" "$fw/"
}
linux_image() { # the package behind linux-image-arm64
  apt_private "$firmware_suite" apt-cache depends "linux-image-arm64/$firmware_suite" |
    sed -n 's/^ *Depends: *\(linux-image-[^ ]*\).*/\1/p' | head -n 1
}
has_judge() { [ -s "$judge/complete" ]; }
get_judge() {
  local x=$cache/apt/x p image lib=usr/lib/aarch64-linux-gnu
  apt_update "$firmware_suite" "$firmware_suite" "$firmware_suite-backports"
  image=$(linux_image)
  for p in "$image" busybox-static ethtool libmnl0 libc6 u-boot-rpi; do unpack "$p"; done
  rm -rf "$judge" && mkdir -p "$judge/bin" "$judge/lib"
  cp "$x/$image"/boot/vmlinuz-* "$judge/Image"
  cp -r "$x/$image"/usr/lib/modules/*/kernel "$judge/modules"
  cp "$(find "$x/$image" -name bcm2711-rpi-4-b.dtb | head -n 1)" "$judge/board.dtb"
  cp "$x/busybox-static/usr/bin/busybox" "$x/ethtool/usr/sbin/ethtool" "$judge/bin/"
  cp -L "$x/libmnl0/$lib"/libmnl.so.0 "$x/libc6/$lib"/{libc.so.6,libm.so.6,ld-linux-aarch64.so.1} "$judge/lib/"
  cp "$x/u-boot-rpi/usr/lib/u-boot/rpi_arm64/u-boot.bin" "$judge/"
  dpkg-deb -f "$x/$image"/*.deb Package Version >"$judge/complete"
}
has_guest_rust() {
  local root
  root=$(rustc --print sysroot 2>/dev/null) || return
  compgen -G "$root/lib/rustlib/$guest_target/lib/libstd-*.rlib" >/dev/null
}
get_guest_rust() { rustup target add "$guest_target"; }
has_mdbook() { [ "$("$cache/mdbook/bin/mdbook" --version 2>/dev/null)" = "mdbook v$mdbook" ]; }
get_mdbook() {
  cargo install mdbook --locked --version "$mdbook" --root "$cache/mdbook" --no-default-features \
    --features search >"$cache/mdbook.log" 2>&1 || {
    tail -n 20 "$cache/mdbook.log" >&2
    die "cargo install mdbook failed"
  }
}
has_sums() { (cd "$fw" && sha256sum --quiet -c SHA256SUMS) >/dev/null 2>&1; }
get_sums() { # also when a file was damaged since: then the sums no longer speak for it
  if [ -f "$fw/SHA256SUMS" ] && [ "$fetched" = no ]; then
    (cd "$fw" && sha256sum --quiet -c SHA256SUMS) >&2 || true
    die ".cache/firmware/ was changed after it was fetched; remove it and run \`make setup\` again"
  fi
  (cd "$fw" && rm -f SHA256SUMS && sha256sum -- * >../sums && mv ../sums SHA256SUMS && cat SHA256SUMS)
}

mkdir -p "$fw"
fetched=no
has_bl31 && has_firmware && has_dtb || fetched=yes
need "Rust target $target, rustfmt, clippy, llvm-tools" has_rust get_rust
need "QEMU >= 10 with raspi4b" has_qemu get_qemu
need "qemu-img, mtools, dosfstools, sfdisk, dtc, iperf3" has_programs get_programs
need "Trusted Firmware-A bl31.bin for rpi4" has_bl31 get_bl31
need "Raspberry Pi boot firmware start4.elf, fixup4.dat" has_firmware get_firmware
need "stock device tree bcm2711-rpi-4-b.dtb (for tests)" has_dtb get_dtb
need "SHA-256 of what was fetched" has_sums get_sums
if [ "${1:-}" = judge ]; then
  need "Linux, busybox, ethtool, U-Boot for arm64 (for make judge)" has_judge get_judge
  need "Rust target $guest_target (for make bench-disk, bench-net)" has_guest_rust get_guest_rust
fi
if [ "${1:-}" = doc ]; then
  need "mdBook $mdbook (for make doc; 2 min)" has_mdbook get_mdbook
fi
rm -rf "$cache/apt"
[ -n "$acted" ] || echo "setup  everything is in place"
