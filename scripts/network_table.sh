#!/usr/bin/env bash
# Writes docs/networks.md: what Ampoule does with networks of MONAI, timm, torchvision and segmentation-models-pytorch in each
# form in which they are exported.
#
#   scripts/network_table.sh [--forms LIST] [--output FILE] [NAME...]
#
# The packages go into .venv-networks (PyTorch is large); NAME takes networks whose names hold it. Rows are kept in
# target/networks/rows.jsonl: what is there already is not made again, unless it is asked for by name.
set -euo pipefail
cd "$(dirname "$0")/.."
output=docs/networks.md forms=() names=()
while [ $# -gt 0 ]; do
  case "$1" in
    --forms) forms=(--forms "$2"); shift ;;
    --output) output=$2; shift ;;
    -*) echo "unknown argument $1; usage: scripts/network_table.sh [--forms LIST] [--output FILE] [NAME...]" >&2; exit 2 ;;
    *) names+=("$1") ;;
  esac
  shift
done
python=.venv-networks/bin/python
if ! $python -c 'import torch, torchvision, timm, segmentation_models_pytorch, monai, onnx, onnxscript, einops' 2>/dev/null; then
  python3 -m venv .venv-networks
  .venv-networks/bin/pip install --quiet --disable-pip-version-check torch==2.9.1 torchvision==0.24.1 timm==1.0.22 \
    segmentation-models-pytorch==0.5.0 monai==1.5.1 onnx==1.23.2 onnxscript==0.7.2 einops==0.8.2 "numpy<2.4"
fi
cargo build --quiet --workspace --example network
program=${CARGO_TARGET_DIR:-target}/debug/examples/network
$python scripts/network_table.py "$program" target/networks "${forms[@]}" "${names[@]}"
python3 scripts/network_table.py --page target/networks "$(git rev-parse --short HEAD 2>/dev/null || echo none)" >"$output.new"
mv "$output.new" "$output"
echo "wrote $output"
