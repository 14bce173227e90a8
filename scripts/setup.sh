#!/usr/bin/env bash
# Names what a fresh Debian, Ubuntu or Fedora (or macOS) lacks to build and test Ampoule, with the command
# that installs it. `--install` runs that command. The program itself needs the Rust toolchain and a linker;
# tests against other implementations need Python too, fuzzing and the check of dependencies cargo-fuzz and cargo-deny; these
# are skipped without it. `--tools` installs the latter two alone, from the crates registry, at the versions below, into cargo's
# folder (some minutes). Runs in bash 3.2 and later.
# Exit code: 0 nothing is missing; 1 only what tests can be done without; 2 what the build needs.
#
#   scripts/setup.sh [--install | --tools]
set -euo pipefail
cd "$(dirname "$0")/.."

# Tools of the tests that cargo installs: command, version.
tools="cargo-fuzz 0.13.2
cargo-deny 0.20.2"

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

# Whether the compiler that is installed builds the workspace. rustup fetches the version that it needs; a
# distribution's own Rust may be too old.
rust() {
  local wanted found
  have rustup && return 0
  have cargo || return 1
  wanted=$(sed -n 's/^rust-version = "\([0-9]*\)\.\([0-9]*\).*/\1 \2/p' Cargo.toml)
  found=$(rustc --version 2>/dev/null | sed -n 's/^rustc \([0-9]*\)\.\([0-9]*\).*/\1 \2/p')
  [ -n "$found" ] || return 1
  [ "${found% *}" -gt "${wanted% *}" ] || { [ "${found% *}" -eq "${wanted% *}" ] && [ "${found#* }" -ge "${wanted#* }" ]; }
}

# Tools that are not there in the version wanted, as arguments of `cargo install`.
missing_tools() {
  echo "$tools" | while read -r tool version; do
    found=$(cargo "${tool#cargo-}" --version 2>/dev/null | sed -n 's/^[a-z-]* //p') || found=""
    [ "$found" = "$version" ] || echo "$tool@$version"
  done
}

# Installs them; what cannot be is left out, and said.
install_tools() {
  local tool
  for tool in $(missing_tools); do
    cargo install --quiet --locked "$tool" || echo "missing: $tool could not be installed"
  done
}

if [ "${1:-}" = --tools ]; then
  have cargo || { echo "missing: Rust (scripts/setup.sh)"; exit 2; }
  install_tools
  [ -z "$(missing_tools)" ] || exit 1
  exit 0
fi

if have apt-get; then
  install="apt-get install -y"
  linker="gcc libc6-dev"
  python="python3 python3-venv"
  fetch="curl ca-certificates"
elif have dnf; then
  install="dnf install -y"
  linker="gcc glibc-devel"
  python="python3 python3-pip"
  fetch="curl ca-certificates"
elif have brew; then
  install="brew install"
  linker=""
  python="python3"
  fetch="curl"
else
  install=""
  linker="a C compiler with its libraries (the linker)"
  python="Python 3 with venv and pip"
  fetch="curl"
fi

packages=""
needed=0
optional=0
need() { # what it is for, packages
  echo "missing: $1"
  packages="$packages $2"
}
links || { need "cc, the linker that rustc calls" "$linker"; needed=$((needed + 1)); }
environments || { need "python3 with venv (only for tests against other implementations)" "$python"; optional=$((optional + 1)); }
if ! have curl && ! rust; then
  need "curl, to fetch rustup" "$fetch"
  needed=$((needed + 1))
fi
packages=$(echo "$packages" | tr -s ' ' | sed 's/^ //; s/ $//')

# Installing is for root; where there is no sudo, the command says who runs it.
as=""
if [ "$(id -u)" -ne 0 ] && [ "$install" != "brew install" ]; then
  if have sudo; then as="sudo "; else as="su -c "; fi
fi
command_line() { # command
  if [ "$as" = "su -c " ]; then echo "su -c '$1'"; else echo "$as$1"; fi
}

if [ -n "$packages" ]; then
  if [ -z "$install" ]; then
    echo "install: $packages"
  elif [ "${1:-}" = --install ]; then
    if [ "$as" = "su -c " ]; then
      echo "setup: packages are installed by root; run: $(command_line "$install $packages")"
    else
      # Fresh containers have no package lists.
      if have apt-get; then ${as}apt-get update; fi
      # shellcheck disable=SC2086
      $as$install $packages
      needed=0
      optional=0
      links || { echo "missing: cc, the linker that rustc calls, after installing $linker"; needed=1; }
      environments || { echo "missing: python3 with venv, after installing $python"; optional=1; }
    fi
  else
    # Fresh containers have no package lists.
    if have apt-get; then
      echo "install: $(command_line "apt-get update"), then: $(command_line "$install $packages")"
    else
      echo "install: $(command_line "$install $packages")"
    fi
  fi
elif [ "$needed" -gt 0 ]; then
  echo "install: xcode-select --install"
fi

if ! rust; then
  if have cargo; then
    echo "missing: Rust $(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml) or newer; the one here is older ($(rustc --version 2>/dev/null || echo "of an unknown version"))"
  else
    echo "missing: Rust"
  fi
  echo "install: curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh    # then open a new shell; rust-toolchain.toml names the version, which rustup fetches"
  needed=$((needed + 1))
fi
[ "$needed" -eq 0 ] || exit 2
if [ "${1:-}" = --install ]; then install_tools; fi
left=$(missing_tools)
if [ -n "$left" ]; then
  echo "missing: $(echo $left) (only for fuzzing and for the check of dependencies)"
  echo "install: scripts/setup.sh --tools"
  optional=$((optional + 1))
fi
[ "$optional" -eq 0 ] || exit 1
echo "setup: nothing is missing"
