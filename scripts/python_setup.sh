#!/usr/bin/env bash
# Makes the virtual environment that wheels of the Python package are built with: maturin, at its pinned version, from the
# Python package index. What is there already is left as it is.
#
#   scripts/python_setup.sh            then scripts/wheel.sh
#
# PYTHON_VENV (default: .venv-python) is where. Exit code 3: it cannot be made here.
set -euo pipefail
cd "$(dirname "$0")/.."
venv=${PYTHON_VENV:-.venv-python}
missing() { echo "cannot be installed here: $1" >&2; exit 3; }

if [ ! -x "$venv/bin/python" ]; then
  python3 -m venv "$venv" || missing "python3 with venv (Debian, Ubuntu: apt-get install python3-venv; Fedora: dnf install python3 python3-pip)"
fi
want=$(sed -n 's/^maturin==//p' python/requirements-build.txt)
have=$("$venv/bin/maturin" --version 2>/dev/null | awk '{print $2}' || true)
if [ "$have" != "$want" ]; then
  "$venv/bin/pip" install --quiet --disable-pip-version-check -r python/requirements-build.txt || missing "maturin $want"
fi
echo "python: $("$venv/bin/maturin" --version) in $venv"
