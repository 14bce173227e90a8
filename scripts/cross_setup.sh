#!/usr/bin/env bash
# Makes what builds and runs Ampoule for other systems on a Debian machine: a copy of the Rust toolchain that builds the
# standard library from Debian's package of its sources (the compiler's own is not touched), cross compilers, and wine
# and qemu-user to run what was built. Packages come from Debian only. What is there already is left as it is.
#
#   scripts/cross_setup.sh [windows] [aarch64]
#   . target/cross/env && cargo build $CROSS_STD --target x86_64-pc-windows-gnu -p ampoule-cli --no-default-features
#
# CROSS (default: target/cross) holds all of it, about 1.5 GB. Exit code 3: something cannot be installed here.
set -euo pipefail
cd "$(dirname "$0")/.."
CROSS=$(mkdir -p "${CROSS:-target/cross}" && cd "${CROSS:-target/cross}" && pwd)
[ $# -gt 0 ] || set -- windows aarch64

missing() { echo "cannot be installed here: $1" >&2; exit 3; }

# PACKAGE...: installed where missing.
need() {
  local package wanted=()
  for package in "$@"; do
    dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null | grep -q '^installed' || wanted+=("$package")
  done
  [ ${#wanted[@]} -gt 0 ] || return 0
  apt-get -qq update >/dev/null || missing "${wanted[*]} (apt-get update)"
  DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=600 install -y --no-install-recommends "${wanted[@]}" \
    >/dev/null 2>&1 || missing "${wanted[*]}"
}

# The lists of Debian's next release, which has the compiler's sources, apart from the machine's own and from the same
# mirror.
apt_apart() {
  local tool=$1
  shift
  "$tool" -o Dir::Etc::sourcelist="$CROSS/apt/sources.list" -o Dir::Etc::sourceparts=- -o APT::Sandbox::User=root \
    -o Dir::State::lists="$CROSS/apt/lists" -o Dir::Cache="$CROSS/apt/cache" -qq "$@"
}

lists() {
  local mirror key=/usr/share/keyrings/debian-archive-keyring.gpg
  mkdir -p "$CROSS"/apt/{lists,cache/archives}/partial
  mirror=$({ cat /etc/apt/sources.list.d/debian.sources /etc/apt/sources.list 2>/dev/null || true; } |
    awk '/^URIs:/ {print $2; exit} $1 == "deb" {for (i = 2; i <= NF; i++) if ($i ~ /^https?:/) {print $i; exit}}')
  [ -n "$mirror" ] && [ -e "$key" ] || missing "sources of the standard library (this is not Debian)"
  for suite in trixie trixie-backports; do
    echo "deb [signed-by=$key] $mirror $suite main"
  done >"$CROSS/apt/sources.list"
  apt_apart apt-get update || missing "sources of the standard library (lists of packages)"
}

# The compiler's copy, with the sources of its own version of the library. A sysroot may be a link: contents are copied.
toolchain() {
  local version full library=$CROSS/toolchain/lib/rustlib/src/rust/library
  [ ! -e "$library/Cargo.lock" ] || return 0
  version=$(rustc --version | awk '{print $2}')
  lists
  full=$(apt_apart apt-cache madison rust-src | awk -F' *[|] *' '{print $2}' | grep -m1 "^$version+dfsg") ||
    missing "rust-src $version"
  rm -rf "$CROSS/toolchain" "$CROSS/sources"
  mkdir -p "$CROSS/sources"
  (cd "$CROSS/sources" && apt_apart apt-get download "rust-src=$full" && dpkg -x ./rust-src_*.deb .)
  cp -rL "$(rustc --print sysroot)" "$CROSS/toolchain"
  mkdir -p "$(dirname "$library")"
  mv "$CROSS"/sources/usr/src/rustc-*/library "$library"
  rm -rf "$CROSS/sources"
}

# Wine of Debian 12 lacks the library that Rust's hash maps ask for random keys, as Windows 10 has it.
wine_prefix() {
  local folder=$CROSS/wine/drive_c/windows/system32
  [ ! -e "$CROSS/wine/ready" ] || return 0
  WINEPREFIX=$CROSS/wine WINEDEBUG=-all /usr/lib/wine/wine64 wineboot -i >/dev/null 2>&1
  if [ ! -e "$folder/bcryptprimitives.dll" ]; then
    cat >"$CROSS/keys.c" <<'C'
#include <windows.h>
#include <ntsecapi.h>
__declspec(dllexport) BOOL WINAPI ProcessPrng(PBYTE data, SIZE_T length) {
    while (length > 0) {
        ULONG part = length > 65536 ? 65536 : (ULONG)length;
        if (!RtlGenRandom(data, part)) return FALSE;
        data += part;
        length -= part;
    }
    return TRUE;
}
C
    x86_64-w64-mingw32-gcc -O1 -shared -s -o "$folder/bcryptprimitives.dll" "$CROSS/keys.c" -ladvapi32
  fi
  touch "$CROSS/wine/ready"
}

toolchain
for system in "$@"; do
  case $system in
    windows)
      need gcc-mingw-w64-x86-64-posix wine64
      wine_prefix
      ;;
    aarch64) need gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user ;;
    *)
      echo "unknown system $system: windows or aarch64" >&2
      exit 2
      ;;
  esac
done

cat >"$CROSS/wine.sh" <<WINE
#!/bin/sh
export WINEPREFIX=$CROSS/wine WINEDEBUG=-all
exec /usr/lib/wine/wine64 "\$@"
WINE
chmod +x "$CROSS/wine.sh"
cat >"$CROSS/env" <<ENV
export PATH=$CROSS/toolchain/bin:\$PATH RUSTC=$CROSS/toolchain/bin/rustc RUSTDOC=$CROSS/toolchain/bin/rustdoc
# The sources of the standard library are those of this very compiler; stable Rust builds them with this permission only.
export RUSTC_BOOTSTRAP=1 CROSS_STD=-Zbuild-std=std,panic_abort
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER="qemu-aarch64 -L /usr/aarch64-linux-gnu"
export CARGO_TARGET_X86_64_PC_WINDOWS_GNU_RUNNER=$CROSS/wine.sh
ENV
echo "ready: . $CROSS/env"
