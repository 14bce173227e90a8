#!/usr/bin/env bash
# Builds the wheel of the Python package ampoule-ai into target/wheels-python: one for CPython 3.9 and later of this machine's
# system (abi3). It prints the wheel's path in the last line, and above it the glibc that the wheel asks for.
#
#   scripts/wheel.sh [--release]       the development profile without it
#   scripts/wheel.sh --target x86_64-pc-windows-gnu | aarch64-unknown-linux-gnu
#
# A target needs scripts/cross_setup.sh. The tag manylinux_2_NN says which glibc is asked for: that of the oldest symbols that
# the library uses, as maturin finds them.
set -euo pipefail
cd "$(dirname "$0")/.."
venv=${PYTHON_VENV:-.venv-python}
profile=(--profile dev) target=() cross=
while [ $# -gt 0 ]; do
  case $1 in
    --release) profile=(--release); shift ;;
    --target) target=(--target "$2"); cross=$2; shift 2 ;;
    *) echo "unknown argument $1" >&2; exit 2 ;;
  esac
done
./scripts/python_setup.sh >/dev/null

out=target/wheels-python
mkdir -p "$out"
std=()
if [ -n "$cross" ]; then
  env_file=${CROSS:-target/cross}/env
  [ -e "$env_file" ] || { echo "no cross toolchain: run scripts/cross_setup.sh first" >&2; exit 3; }
  # shellcheck disable=SC1090
  . "$env_file"
  # The standard library of the target is built from its sources, by Cargo and not by rustc.
  std=("$CROSS_STD")
  CARGO_TARGET_DIR=$(cd "$(dirname "$env_file")" && pwd)/build
  export CARGO_TARGET_DIR
fi
# The default compatibility is the oldest manylinux whose symbols suffice; a system's own library is never bundled.
(cd python && "$(cd .. && cd "$(dirname "$venv")" && pwd)/$(basename "$venv")/bin/maturin" build "${profile[@]}" "${target[@]}" \
  --out "../$out" --auditwheel check "${std[@]}")
wheel=$(ls -t "$out"/ampoule_ai-*.whl | head -n 1)
case $wheel in
  *manylinux_2_*) glibc=${wheel#*manylinux_} && glibc=${glibc%%_x86*} && glibc=${glibc%%_aarch*} && echo "glibc ${glibc/_/.} or later" ;;
esac
echo "$wheel"
