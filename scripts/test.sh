#!/usr/bin/env bash
# The README's test command: format, lints, docs, and all tests on every instruction-set tier that
# this CPU has. Prints which tiers ran and what was skipped; fails when a tier that the CPU has was
# not run.
set -euo pipefail
cd "$(dirname "$0")/.."

./scripts/oracles.sh || echo "SKIPPED: oracles could not be installed; tests against them are skipped"

echo "== format"
cargo fmt --all --check
echo "== clippy"
cargo clippy --quiet --workspace --all-targets -- -D warnings
echo "== docs"
RUSTDOCFLAGS="-D warnings" cargo doc --quiet --workspace --no-deps

# What the CPU has decides which tiers must run.
flags=$(grep -m1 '^flags' /proc/cpuinfo 2>/dev/null || true)
tiers=(scalar)
case "$flags" in *avx2*) case "$flags" in *fma*) tiers+=(avx2) ;; esac ;; esac
case "$flags" in *avx_vnni*) tiers+=(avx2vnni) ;; esac
case "$flags" in *avx512f*) case "$flags" in *avx512vl*) tiers+=(avx512) ;; esac ;; esac
case "$flags" in *avx512_vnni*) tiers+=(avx512vnni) ;; esac
best=${tiers[-1]}
case "$flags" in *avx512_bf16*) tiers+=(avx512bf16) ;; esac

log=$(mktemp)
trap 'rm -f "$log"' EXIT
cargo build --quiet --workspace --all-targets
for tier in $(printf '%s\n' "${tiers[@]}" | tac); do
  echo "== tests on $tier"
  # Formats, metrics and documentation examples do not depend on the tier; the bfloat16 tier differs
  # from the one before in products of bfloat16 only, and those with VNNI in products of bytes. Always the whole workspace, so that nothing is
  # built twice for other sets of features.
  kernels=(--lib --test kernels --test codes --test networks --test engine --test torch)
  int8=(--test kernels --test codes --test engine)
  packages=(--workspace)
  skipped=()
  case "$tier" in
    "$best") ;;
    avx512bf16) packages+=("${kernels[@]}") ;;
    avx2vnni) packages+=("${int8[@]}") ;;
    avx512) packages+=("${kernels[@]}") ;;
    # Studies and training of the command line run what other tests cover, minutes long in plain loops.
    scalar)
      packages+=("${kernels[@]}" --test onnx_nodes --test regressions --test golden --test cli)
      skipped=(--skip study:: --skip training::)
      ;;
    *) packages+=("${kernels[@]}" --test onnx_nodes --test regressions --test golden --test cli) ;;
  esac
  AMPOULE_ISA=$tier cargo test --quiet "${packages[@]}" -- --nocapture "${skipped[@]}" 2>&1 | tee -a "$log" \
    | grep -v -E '^(running [0-9]+ tests?|\.*)$' || { echo "tests fail on $tier"; exit 1; }
  grep -q "tiers tested: $tier" "$log" || { echo "the tier $tier was skipped on a CPU that has it"; exit 1; }
done

echo "== tiers tested: ${tiers[*]}"
echo "== skipped: $(grep -c 'SKIPPED' "$log" || true)"
grep -o 'SKIPPED.*' "$log" | sort | uniq -c || true
