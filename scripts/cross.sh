#!/usr/bin/env bash
# Builds the command line for other systems and runs it there: 64-bit Windows in wine, 64-bit ARM Linux in qemu-user.
# Bits of INT8 models, of their labels, of float32 results on the same feature set and of a whole head's mask are compared
# with those of this machine's own build.
#
#   scripts/cross.sh [--all] [windows] [aarch64]
#
# Without --all: the crates that talk to the operating system, the INT8 kernels, and `cli/tests/systems.rs`. With --all:
# all tests of the kernels, the engine, the images and the command line that the system can run, minutes to hours.
# Exit code 3: compilers or emulators cannot be installed here.
set -euo pipefail
cd "$(dirname "$0")/.."
CROSS=${CROSS:-target/cross}
all=
systems=()
for word in "$@"; do
  case $word in
    --all) all=1 ;;
    windows | aarch64) systems+=("$word") ;;
    *)
      sed -n '2,12p' "$0"
      exit 2
      ;;
  esac
done
[ ${#systems[@]} -gt 0 ] || systems=(windows aarch64)
scripts/cross_setup.sh "${systems[@]}"
mkdir -p "$CROSS/bits"

# The lines `BITS name hash` of a run of cli/tests/systems.rs, in order of their names.
bits_of() { grep -o 'BITS .*' "$1" | sort; }

# Tests of the parent's own process tree, which emulators cannot start, and whole networks that take minutes emulated.
small() { # CARGO-ARGUMENTS…
  cargo test --quiet "$@" -p ampoule-system -p ampoule-files
  cargo test --quiet "$@" -p ampoule-kernels --test kernels -- int
  cargo test --quiet "$@" -p ampoule-onnx --lib
}
large() {
  cargo test --quiet "$@" -p ampoule-kernels -p ampoule-engine -p ampoule-imaging --lib --tests
}

echo "== native: bits"
env ${all:+AMPOULE_SLOW=1} cargo test --quiet -p ampoule-cli --no-default-features --test systems -- --nocapture --test-threads=1 \
  ${all:+--include-ignored} >"$CROSS/bits/native.log" 2>&1 || { cat "$CROSS/bits/native.log"; exit 1; }
bits_of "$CROSS/bits/native.log" >"$CROSS/bits/native"

status=0
for system in "${systems[@]}"; do
  case $system in
    windows) triple=x86_64-pc-windows-gnu runner= ;;
    aarch64) triple=aarch64-unknown-linux-gnu runner="qemu-aarch64 -L /usr/aarch64-linux-gnu" ;;
  esac
  (
    # shellcheck disable=SC1091
    . "$CROSS/env"
    export CARGO_TARGET_DIR=$CROSS/build AMPOULE_RUNNER=$runner ${all:+AMPOULE_SLOW=1}
    std=("$CROSS_STD" --target "$triple")
    echo "== $system: tests"
    if [ -n "$all" ]; then large "${std[@]}"; fi
    small "${std[@]}"
    echo "== $system: command line"
    cargo test --quiet "${std[@]}" -p ampoule-cli --no-default-features --test systems ${all:+--test cli --test hostile} -- \
      --nocapture --test-threads=1 2>&1 | tee "$CROSS/bits/$system.log" | grep -v '^BITS' || exit 1
  ) || { echo "FAILED: tests for $system"; status=1; continue; }
  bits_of "$CROSS/bits/$system.log" >"$CROSS/bits/$system"
  # What both have must be the same, and INT8 and the scalar set every system has.
  same=$(comm -12 "$CROSS/bits/native" "$CROSS/bits/$system" | wc -l)
  differ=$(join -j 2 -o 1.2,1.3,2.3 "$CROSS/bits/native" "$CROSS/bits/$system" | awk '$2 != $3 {print $1}')
  [ -z "$differ" ] || { echo "FAILED: other bits than natively on $system: $(echo "$differ" | tr '\n' ' ')"; status=1; }
  [ "$same" -ge 3 ] || { echo "FAILED: only $same results of $system could be compared"; status=1; }
  echo "== $system: $same results have the bits of the native build: $(comm -12 "$CROSS/bits/native" "$CROSS/bits/$system" | awk '{print $2}' | tr '\n' ' ')"
done
exit "$status"
