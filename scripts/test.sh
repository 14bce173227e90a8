#!/usr/bin/env bash
# The README's test command: format, lints, docs, and all tests on every instruction-set tier that
# this CPU has. Prints which tiers ran and what was skipped; fails when a tier that the CPU has was
# not run.
set -euo pipefail
cd "$(dirname "$0")/.."

# Names what this machine lacks; tests against other implementations can be done without.
lacks=0
./scripts/setup.sh || lacks=$?
[ "$lacks" -lt 2 ] || { echo "nothing can be built; install what is missing (scripts/setup.sh --install), then run this again"; exit 2; }
./scripts/oracles.sh || echo "SKIPPED: oracles could not be installed; tests against them are skipped"

echo "== format"
cargo fmt --all --check
echo "== structure"
cargo run --quiet -p ampoule-structure
echo "== clippy"
cargo clippy --quiet --workspace --all-targets -- -D warnings
echo "== docs"
RUSTDOCFLAGS="-D warnings" cargo doc --quiet --workspace --no-deps

cargo test --quiet --workspace --no-run
built=${CARGO_TARGET_DIR:-target}/debug

# The registry of kernels decides which feature sets must run: those of this CPU that run something as no
# better set does, best first, each with the operations that it runs so.
sets=$("$built/examples/feature_sets")
[ -n "$sets" ] || { echo "the registry lists no feature set"; exit 1; }

log=$(mktemp)
all=$(mktemp)
trap 'rm -f "$log" "$all"' EXIT
# Formats, metrics and documentation examples do not depend on the CPU. Always the whole workspace, so
# that nothing is built twice for other sets of Cargo features.
kernels="--lib --test kernels --test int8 --test qat --test networks --test torch"
int8="--test kernels --test int8 --test qat"
nodes="--test onnx_nodes --test regressions --test golden --test cli"
tested=""
while read -r tier operations; do
  echo "== tests on $tier"
  skipped=""
  if [ -z "$tested" ]; then
    tests=""
  elif [ -z "$(echo "$operations" | tr , '\n' | grep -v -E '^(i16|u8)_|int8' || true)" ]; then
    tests=$int8
  elif ! echo "$operations" | grep -q f32_gemm; then
    tests=$kernels
  else
    tests="$kernels $nodes"
  fi
  # Studies, training and folders of the command line run what other tests cover, minutes long in plain loops.
  [ "$tier" = scalar ] && skipped="--skip study:: --skip training:: --skip frameworks::"
  # shellcheck disable=SC2086
  AMPOULE_ISA=$tier cargo test --quiet --workspace $tests -- --nocapture $skipped </dev/null 2>&1 | tee "$log" \
    | grep -v -E '^(running [0-9]+ tests?|\.*)$' || { echo "tests fail on $tier"; exit 1; }
  cat "$log" >>"$all"
  grep -q -E "tiers tested: $tier( |\$)" "$log" || { echo "$tier was skipped on a CPU that has it"; exit 1; }
  tested="$tested $tier"
done <<EOF_SETS
$sets
EOF_SETS

[ -n "$tested" ] || { echo "no tier was tested"; exit 1; }
echo "== tiers tested:$tested"
echo "== supply chain"
./scripts/supply_chain.sh | tee -a "$all"
echo "== fuzzing"
# Instrumented builds of the targets alone take longer than all tests, so they are made only where they are asked for.
if [ -n "${AMPOULE_FUZZ_SECONDS:-}" ]; then
  ./scripts/fuzz.sh "$AMPOULE_FUZZ_SECONDS" | tee -a "$all"
else
  echo "SKIPPED: fuzzing: AMPOULE_FUZZ_SECONDS is not set (60: a minute for each target)" | tee -a "$all"
fi

echo "== skipped: $(grep -c 'SKIPPED' "$all" || true)"
grep -o 'SKIPPED.*' "$all" | sort | uniq -c || true
