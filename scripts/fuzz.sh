#!/usr/bin/env bash
# Runs every fuzz target for so many seconds each (default 60), with AddressSanitizer. Needs cargo-fuzz and a nightly
# toolchain; without them it says so and ends with 0, because nothing else depends on it.
#   scripts/fuzz.sh [SECONDS] [TARGET...]
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=${1:-60}
shift || true
if ! cargo fuzz --version >/dev/null 2>&1; then
  echo "SKIPPED: fuzzing: cargo-fuzz is missing (cargo install cargo-fuzz)"
  exit 0
fi
if ! cargo +nightly --version >/dev/null 2>&1; then
  echo "SKIPPED: fuzzing: there is no nightly toolchain (rustup toolchain install nightly)"
  exit 0
fi
feature() {
  case $1 in
    onnx | planner) echo "$1" ;;
    pickle | torch | archive | keras) echo checkpoints ;;
    volume | photo | slide) echo images ;;
    dicom) echo dicom ;;
    recipe | study | results | table) echo texts ;;
    quantizers | differential) echo networks ;;
    *) echo "fuzz: no target $1" >&2; return 2 ;;
  esac
}
[ $# -gt 0 ] || set -- onnx planner pickle torch archive keras dicom volume photo slide recipe study results table quantizers differential
for target in "$@"; do
  feature=$(feature "$target")
  echo "== fuzz $target, $seconds s"
  mkdir -p "fuzz/corpus/$target"
  # Real files are the best seeds; what is found is kept beside them and not committed.
  case $target in
    onnx) find crates/*/tests/golden -name '*.onnx' -size -64k -exec cp -n {} fuzz/corpus/onnx/ \; ;;
    recipe) cp -n recipes/*.toml fuzz/corpus/recipe/ ;;
    dicom) python3 -c 'import glob, pathlib, zipfile
for path in glob.glob("crates/dicom/tests/golden/*.zip"):
    with zipfile.ZipFile(path) as z:
        name = z.namelist()[0]
        pathlib.Path("fuzz/corpus/dicom", pathlib.Path(path).stem).write_bytes(z.read(name))' ;;
    study) cp -n studies/*.toml fuzz/corpus/study/ ;;
  esac
  (cd fuzz && cargo +nightly fuzz run --fuzz-dir . --features "$feature" "$target" -- \
    -max_total_time="$seconds" -rss_limit_mb=2048 -timeout=20 -max_len=65536 -print_final_stats=1)
done
