#!/usr/bin/env bash
# Writes docs/numerics-networks.md: the error of each network of a folder against the float64 reference, in every precision.
#
#   scripts/numerics.sh YARD [--size N] [--output FILE] [NAME...]
#
# YARD holds ONNX files; NAME takes only those. Spatial axes that a model leaves free have N elements (default 48). The
# reference computes plainly, so a network of a few GMAC takes a minute. What fails is a row too.
set -euo pipefail
cd "$(dirname "$0")/.."
usage="usage: scripts/numerics.sh YARD [--size N] [--output FILE] [NAME...]"
yard=${1:?$usage}
shift
size=48 output=docs/numerics-networks.md names=()
while [ $# -gt 0 ]; do
  case "$1" in
    --size) size=$2; shift ;;
    --output) output=$2; shift ;;
    -*) echo "unknown argument $1; $usage" >&2; exit 2 ;;
    *) names+=("$1") ;;
  esac
  shift
done
cargo build --quiet --release -p ampoule-engine --example float64
program=${CARGO_TARGET_DIR:-target}/release/examples/float64
if [ ${#names[@]} -eq 0 ]; then
  for file in "$yard"/*.onnx; do names+=("$(basename "$file" .onnx)"); done
fi
page=$(mktemp)
trap 'rm -f "$page"' EXIT
{
  echo "# Numerics of networks"
  echo
  echo "Written by \`scripts/numerics.sh\` on $(date -u +%F), of commit $(git rev-parse --short HEAD 2>/dev/null || echo none), on $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -1)."
  echo "Relative L2 of the first output against the float64 reference, on random input and, where a network is of the yardstick,"
  echo "random weights. Errors of networks with such weights say little of trained ones; ratios between columns do."
  echo
  echo "| network | input | fp32 | fp32-strict | bf16 | bf16-fast |"
  echo "|---|---|---|---|---|---|"
} >"$page"
for name in "${names[@]}"; do
  echo "$name" >&2
  "$program" "$yard/$name.onnx" "$size" 2>"$page.said" >>"$page" || echo "| $name | $(tail -1 "$page.said" | tr '|' '/') | | | | |" >>"$page"
  rm -f "$page.said"
done
cp "$page" "$output"
echo "wrote $output"
