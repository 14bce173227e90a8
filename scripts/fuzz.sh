#!/usr/bin/env bash
# Builds all fuzz targets at once and runs each for so many seconds (default 60), with AddressSanitizer. Needs cargo-fuzz
# (scripts/setup.sh --tools) and a nightly toolchain; without them it says so and ends with 0, because nothing else depends on it.
# AMPOULE_FUZZ_SANITIZER=none leaves AddressSanitizer away, for targets that look for wrong values.
#   scripts/fuzz.sh [SECONDS] [TARGET...]   a log for each run goes to fuzz/logs, what a target finds to fuzz/artifacts
#   scripts/fuzz.sh --table                 what the logs tell, by target
set -euo pipefail
cd "$(dirname "$0")/.."
if [ "${1:-}" = --table ]; then
  exec python3 scripts/fuzz_table.py fuzz
fi
seconds=${1:-60}
shift || true
if ! cargo fuzz --version >/dev/null 2>&1; then
  echo "SKIPPED: fuzzing: cargo-fuzz is missing (scripts/setup.sh --tools)"
  exit 0
fi
if ! cargo +nightly --version >/dev/null 2>&1; then
  echo "SKIPPED: fuzzing: there is no nightly toolchain (rustup toolchain install nightly)"
  exit 0
fi
# Copies small files below a folder with these endings, under names of their own.
seeds() { # target, folder, endings...
  local target=$1 folder=$2 file name
  shift 2
  for ending in "$@"; do
    while IFS= read -r file; do
      name=$(echo "$file" | tr '/ ' '__')
      [ -e "fuzz/corpus/$target/$name" ] || cp "$file" "fuzz/corpus/$target/$name"
    done < <(find $folder -name "*.$ending" -size -64k)
  done
}
[ $# -gt 0 ] || set -- onnx planner pickle torch archive keras dicom volume photo slide recipe study results table quantizers differential
mkdir -p fuzz/logs
# Dependencies in the versions of the program.
[ -f fuzz/Cargo.lock ] || cp Cargo.lock fuzz/Cargo.lock
# All targets in one build; they are started without cargo, which would look at it again for each. Readers alone are built without
# the kernels.
networks=
for target in "$@"; do
  [ -e "fuzz/targets/$target.rs" ] || { echo "fuzz: no target $target" >&2; exit 2; }
  case $target in onnx | pickle | torch | archive | dicom | volume | photo | slide) ;; *) networks="--features networks" ;; esac
done
host=$(rustc +nightly -vV | sed -n 's/^host: //p')
# shellcheck disable=SC2086
(cd fuzz && cargo +nightly fuzz build --fuzz-dir . --sanitizer "${AMPOULE_FUZZ_SANITIZER:-address}" --target "$host" --target-dir target $networks)
built=fuzz/target/$host/release
failed=0
for target in "$@"; do
  echo "== fuzz $target, $seconds s"
  mkdir -p "fuzz/corpus/$target" "fuzz/artifacts/$target"
  # Real files are the best seeds; what is found is kept beside them and not committed.
  case $target in
    onnx) seeds onnx "crates/*/tests/golden" onnx ;;
    recipe) seeds recipe recipes toml ;;
    study) seeds study studies toml ;;
    table) seeds table "crates cli" csv ;;
    volume) seeds volume crates/imaging/tests/golden nii gz nrrd mha mhd mgz mgh ;;
    photo) seeds photo crates/imaging/tests/golden jpg jpeg png webp bmp gif tif tiff heic ;;
    slide) seeds slide crates/imaging/tests/golden/slides tif tiff svs ;;
    torch) seeds torch crates/torch/tests/golden pt pth pt2 ts npz safetensors ;;
    pickle) seeds pickle crates/torch/tests/golden pkl pt pth ;;
    archive) seeds archive crates/torch/tests/golden pt pt2 npz zip ;;
    keras) seeds keras "crates/*/tests/golden" keras h5 ;;
    dicom) python3 -c 'import glob, pathlib, zipfile
for path in glob.glob("crates/dicom/tests/golden/*.zip"):
    with zipfile.ZipFile(path) as z:
        name = z.namelist()[0]
        pathlib.Path("fuzz/corpus/dicom", pathlib.Path(path).stem).write_bytes(z.read(name))' ;;
  esac
  log=fuzz/logs/$target.$(date -u +%Y%m%dT%H%M%S).log
  "$built/$target" -artifact_prefix="fuzz/artifacts/$target/" -max_total_time="$seconds" -rss_limit_mb=2048 -timeout=20 \
    -max_len=65536 -print_final_stats=1 "fuzz/corpus/$target" >"$log" 2>&1 || {
    failed=1
    tail -n 60 "$log"
  }
  grep -E '^stat::number_of_executed_units|^Done' "$log" || echo "no executions: $log"
done
exit $failed
