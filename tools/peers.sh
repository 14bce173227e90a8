#!/usr/bin/env bash
# Installs ONNX Runtime and OpenVINO from Python wheels at pinned versions into .venv-bench, for
# `ampoule bench --against onnxruntime,openvino`, which loads their C libraries from there. Nothing of
# this is needed to build, test or use the program. With --study also PyTorch and NNCF, for whole studies; with --cohorts also Ray
# and the BIDS validator, for scripts/cohort_page.sh.
set -euo pipefail
cd "$(dirname "$0")/.."
# Without pip the environment was left half made.
[ -x .venv-bench/bin/pip ] || python3 -m venv .venv-bench \
  || { echo "peers: python3 with venv is missing (Debian, Ubuntu: apt-get install python3-venv; Fedora: dnf install python3 python3-pip)"; exit 1; }
.venv-bench/bin/pip install --quiet --disable-pip-version-check onnxruntime==1.32.0 openvino==2026.4.1 onnx==1.22.0 numpy
# PyTorch (several GB) and the tools that quantize for these engines, for `ampoule study studies/paper.toml`.
if [ "${1:-}" = --study ] || [ "${1:-}" = --cohorts ]; then
  .venv-bench/bin/pip install --quiet --disable-pip-version-check torch==2.15.0 nncf==3.4.0 pillow
fi
# What scripts/cohort_page.sh runs beside the package for Python.
if [ "${1:-}" = --cohorts ]; then
  grep -E '^(ray|pyarrow|fsspec)' python/requirements-test.txt >.venv-bench/cohorts.txt
  .venv-bench/bin/pip install --quiet --disable-pip-version-check -r .venv-bench/cohorts.txt bids-validator-deno==3.0.2
fi
for library in onnxruntime/capi/libonnxruntime.so openvino/libs/libopenvino_c.so; do
  ls .venv-bench/lib/python3*/site-packages/$library.*
done
