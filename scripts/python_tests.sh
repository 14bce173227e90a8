#!/usr/bin/env bash
# Tests the Python package: builds the wheel (development profile) and the program, installs the wheel by pip into a fresh
# environment, and runs python/tests there against NumPy, ONNX Runtime, nibabel, SimpleITK, Pillow, pydicom and Ray, which come
# at pinned versions from the Python package index. What cannot be had is said and skipped.
#
#   scripts/python_tests.sh [pytest's arguments]
#
# WHEEL: a wheel that was built already. PYTHON_TEST_VENV (default: .venv-python-tests): the environment; libraries of an
# earlier run are kept, the package is installed anew.
set -euo pipefail
cd "$(dirname "$0")/.."
venv=${PYTHON_TEST_VENV:-.venv-python-tests}
if [ ! -x "$venv/bin/python" ]; then
  python3 -m venv "$venv" || { echo "SKIPPED: python3 with venv is missing; the Python package is not tested"; exit 0; }
fi
"$venv/bin/pip" install --quiet --disable-pip-version-check -r python/requirements-test.txt \
  || { echo "SKIPPED: the libraries of the Python tests could not be installed"; exit 0; }

cargo build --quiet -p ampoule-cli
wheel=${WHEEL:-$(./scripts/wheel.sh | tail -n 1)}
"$venv/bin/pip" install --quiet --disable-pip-version-check --force-reinstall --no-deps "$wheel"
echo "python: testing $wheel"
export AMPOULE_PROGRAM=${CARGO_TARGET_DIR:-$PWD/target}/debug/ampoule
"$venv/bin/python" -m mypy --config-file python/pyproject.toml python/src/ampoule_ai
# From elsewhere, so that the installed package is imported and not its sources.
root=$PWD
cd "$(mktemp -d)"
exec "$root/$venv/bin/python" -m pytest -c "$root/python/pyproject.toml" --rootdir "$root/python" "$root/python/tests" "$@"
