#!/usr/bin/env bash
# Writes docs/zoo.md: every network of a folder side by side with ONNX Runtime and OpenVINO, on this machine, today.
#
#   scripts/zoo.sh YARD [--quick] [--threads LIST] [--ampoule PROGRAM [--commit HASH]] [--output FILE] [NAME...]
#
# YARD holds ONNX files of fixed or free input size; NAME takes only those. FP32 and BF16 are measured on the file, INT8
# on the file that `quantize` makes of it with noise for calibration, the same for all engines. PROGRAM is a release
# build (default: built here) of the commit HASH (default: the present one). The other engines are those that tools/peers.sh installed into .venv-bench; without
# them only Ampoule is measured. Let nothing else run meanwhile.
set -euo pipefail
cd "$(dirname "$0")/.."

usage="usage: scripts/zoo.sh YARD [--quick] [--threads LIST] [--ampoule PROGRAM [--commit HASH]] [--output FILE] [NAME...]"
yard=${1:?$usage}
shift
program="" commit="" output=docs/zoo.md seconds=3 threads=2 names=()
while [ $# -gt 0 ]; do
  case "$1" in
    --quick) seconds=0.5 ;;
    --threads) threads=$2; shift ;;
    --ampoule) program=$2; shift ;;
    --commit) commit=$2; shift ;;
    --output) output=$2; shift ;;
    -*) echo "unknown argument $1; $usage" >&2; exit 2 ;;
    *) names+=("$1") ;;
  esac
  shift
done
if [ -z "$program" ]; then
  cargo build --quiet --release -p ampoule-cli
  program=${CARGO_TARGET_DIR:-target}/release/ampoule
fi
cargo build --quiet --release -p ampoule-optimize --example quantize
quantize=${CARGO_TARGET_DIR:-target}/release/examples/quantize
work=target/zoo
rm -rf "$work"
mkdir -p "$work"
if [ ${#names[@]} -eq 0 ]; then
  for file in "$yard"/*.onnx; do names+=("$(basename "$file" .onnx)"); done
fi
against=()
[ -d .venv-bench ] && against=(--against onnxruntime,openvino)

# measure NAME FILE PRECISION COLUMN: a line of JSON for each engine. What fails is a row too.
measure() {
  echo "$1 $4" >&2
  if ! "$program" bench "$2" --threads "$threads" --seconds "$seconds" --precision "$3" "${against[@]}" --json --quiet \
    >"$work/lines" 2>"$work/said" </dev/null; then
    python3 -c 'import json,sys; print(json.dumps({"failed": sys.stdin.read().strip()}))' <"$work/said" >>"$work/lines"
  fi
  sed "s|^{|{\"column\":\"$4\",\"network\":\"$1\",|" "$work/lines" >>"$work/all.jsonl"
}

for name in "${names[@]}"; do
  file=$yard/$name.onnx
  measure "$name" "$file" fp32 FP32
  measure "$name" "$file" bf16 BF16
  if "$quantize" "$file" "$work/int8.onnx" 2>"$work/said" >/dev/null; then
    measure "$name" "$work/int8.onnx" fp32 INT8
  else
    python3 -c 'import json,sys; print(json.dumps({"column":"INT8","network":sys.argv[1],"failed":sys.stdin.read().strip()}))' \
      "$name" <"$work/said" >>"$work/all.jsonl"
  fi
done

[ -n "$commit" ] || commit=$(git rev-parse --short HEAD 2>/dev/null || echo "no commit")
"$program" doctor | sed -n '/^cpu\|^threads\|^tiers\|^memory/p' >"$work/machine"
python3 scripts/zoo_page.py "$work/all.jsonl" "$work/machine" "$commit" "$seconds" "$threads" >"$work/page.md"
mv "$work/page.md" "$output"
echo "wrote $output"
