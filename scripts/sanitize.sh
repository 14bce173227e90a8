#!/usr/bin/env bash
# Tests under AddressSanitizer and ThreadSanitizer, and Miri over the runtime's views and pool where it is installed.
#   scripts/sanitize.sh [address|thread|miri]...
# Crates with `unsafe` code are tested, and those whose tests run most of it. The compiler of the project is used with its unstable options
# switched on (RUSTC_BOOTSTRAP), so that no other toolchain is needed; sanitizers of the standard library itself need its source
# (rustup component add rust-src), without which only this workspace is instrumented: enough for addresses, and for threads the
# standard library's own synchronisation is invisible, so ThreadSanitizer is skipped then. Builds go to target/sanitize-NAME.
# What is missing is said and skipped; exit code 1 where a test fails or a sanitizer finds something.
set -euo pipefail
cd "$(dirname "$0")/.."
[ $# -gt 0 ] || set -- address thread miri
root=$(rustc --print sysroot)
host=$(rustc -vV | sed -n 's/^host: //p')
export RUSTC_BOOTSTRAP=1 CARGO_INCREMENTAL=0

# The tests: package, and which of its targets.
tests() {
  local run=("$@")
  "${run[@]}" -p ampoule-system --lib
  "${run[@]}" -p ampoule-runtime --lib --test steps
  "${run[@]}" -p ampoule-kernels --lib --test kernels
  "${run[@]}" -p ampoule-engine --lib --test networks
  "${run[@]}" -p ampoule-train --lib --test operators
}

build_std=()
[ -d "$root/lib/rustlib/src/rust/library" ] && build_std=(-Zbuild-std)

for what in "$@"; do
  case $what in
    address)
      echo "== AddressSanitizer"
      # What the runtime maps itself is given back by hand; leaks are looked for by the soak.
      RUSTFLAGS="-Zsanitizer=address -Cdebuginfo=line-tables-only" ASAN_OPTIONS=detect_leaks=0:detect_stack_use_after_return=1 \
        tests cargo test --quiet "${build_std[@]}" --target "$host" --target-dir target/sanitize-address
      ;;
    thread)
      if [ ${#build_std[@]} = 0 ]; then
        echo "SKIPPED: ThreadSanitizer: the standard library's source is missing (rustup component add rust-src)"
        continue
      fi
      echo "== ThreadSanitizer"
      RUSTFLAGS="-Zsanitizer=thread -Cdebuginfo=line-tables-only" \
        tests cargo test --quiet "${build_std[@]}" --target "$host" --target-dir target/sanitize-thread
      ;;
    miri)
      if ! cargo miri --version >/dev/null 2>&1; then
        echo "SKIPPED: Miri is missing (rustup component add miri rust-src)"
        continue
      fi
      echo "== Miri"
      MIRIFLAGS="-Zmiri-disable-isolation" cargo miri test --quiet -p ampoule-runtime --lib --target-dir target/sanitize-miri -- view pool arena
      ;;
    *) echo "sanitize: no $what; address, thread or miri" >&2; exit 2 ;;
  esac
done
