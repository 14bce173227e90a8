#!/usr/bin/env bash
# Names what a fresh Debian, Ubuntu or Fedora (or macOS) lacks to build and test Ampoule, with the command
# that installs it. `--install` runs that command. The program itself needs the Rust toolchain and a linker;
# tests against other implementations need Python too, and are skipped without it.
#
#   scripts/setup.sh [--install]
set -euo pipefail
cd "$(dirname "$0")/.."

have() { command -v "$1" >/dev/null 2>&1; }

# Whether a program can be linked: the compiler alone is there without the C library's files on some systems.
links() {
  local work status=0
  work=$(mktemp -d)
  echo 'int main(void) { return 0; }' >"$work/a.c"
  cc "$work/a.c" -o "$work/a" >/dev/null 2>&1 || status=$?
  rm -rf "$work"
  return "$status"
}

# A virtual environment needs `ensurepip`, which Debian packs apart.
environments() { python3 -c 'import venv, ensurepip' >/dev/null 2>&1; }

if have apt-get; then
  install="apt-get install -y"
  linker="gcc libc6-dev"
  python="python3 python3-venv"
elif have dnf; then
  install="dnf install -y"
  linker="gcc glibc-devel"
  python="python3 python3-pip"
elif have brew; then
  install="brew install"
  linker=""
  python="python3"
else
  install=""
  linker="a C compiler with its libraries (the linker)"
  python="Python 3 with venv and pip"
fi

packages=""
missing=0
need() { # what it is for, packages
  echo "missing: $1"
  packages="$packages $2"
  missing=$((missing + 1))
}
links || need "cc, the linker that rustc calls" "$linker"
have git || need "git" "git"
environments || need "python3 with venv (only for tests against other implementations)" "$python"
have curl || have cargo || need "curl, to fetch rustup" "curl"
packages=$(echo "$packages" | tr -s ' ' | sed 's/^ //')

if [ -n "$packages" ]; then
  if [ -z "$install" ]; then
    echo "install: $packages"
  elif [ "${1:-}" = --install ]; then
    run="$install"
    [ "$(id -u)" -eq 0 ] || [ "$install" = "brew install" ] || run="sudo $install"
    # Fresh containers have no package lists.
    case "$run" in *apt-get*) ${run%% install*} update ;; esac
    # shellcheck disable=SC2086
    $run $packages
    missing=0
  else
    echo "install: $install $packages"
  fi
elif [ "$missing" -gt 0 ]; then
  echo "install: xcode-select --install"
fi

if ! have cargo; then
  echo "missing: Rust. Install it from https://rustup.rs; rust-toolchain.toml names the version, which rustup fetches"
  missing=$((missing + 1))
fi
[ "$missing" -eq 0 ] && echo "setup: nothing is missing"
[ "$missing" -eq 0 ]
