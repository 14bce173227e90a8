#!/usr/bin/env bash
# Writes the page of measured figures, docs/figures.md: each with the command that printed it, on this
# machine, today. Nothing else in the documentation holds a figure that ages.
#
#   scripts/figures.sh [--quick] [--shared FOLDER] [--ampoule PROGRAM] [--output FILE]
#
# FOLDER holds `models/` and `data/` (default ../shared); without it the built-in model and the small network
# in assets/ are measured. PROGRAM is a release build (default: built here). Other engines take part where
# tools/peers.sh installed them into .venv-bench. --quick measures for a tenth of the time: it shows that
# all commands work, and its figures mean nothing. Let nothing else run meanwhile.
set -euo pipefail
cd "$(dirname "$0")/.."

shared=../shared
program=""
output=docs/figures.md
seconds=5
while [ $# -gt 0 ]; do
  case "$1" in
    --quick) seconds=0.5 ;;
    --shared) shared=$2; shift ;;
    --ampoule) program=$2; shift ;;
    --output) output=$2; shift ;;
    *) echo "unknown argument $1; usage: scripts/figures.sh [--quick] [--shared FOLDER] [--ampoule PROGRAM] [--output FILE]" >&2; exit 2 ;;
  esac
  shift
done
if [ -z "$program" ]; then
  cargo build --quiet --release -p ampoule-cli
  program=${CARGO_TARGET_DIR:-target}/release/ampoule
fi
work=target/figures
rm -rf "$work"
mkdir -p "$work"
page=$work/page.md
# shellcheck source=scripts/page.sh
. scripts/page.sh
title "Measured figures"
[ "$seconds" = 5 ] || say "**Of a quick run: times mean nothing.**"

say "## The machine"
show uname -srm
show ampoule doctor

say "## A whole head, from file to report"
say "Brain extraction with the built-in model on the built-in head. The mask of ONNX Runtime is made by \`scripts/golden_demo.py\`."
show ampoule demo -o "$work/demo" --threads 1
show ampoule demo -o "$work/demo" --threads 2
show ampoule demo -o "$work/demo_bf16" --threads 2 --precision bf16
show ampoule evaluate "$work/demo/colin27_mask.nii.gz" cli/tests/golden/colin27_deepbet.nii.gz
show ampoule evaluate "$work/demo_bf16/colin27_mask.nii.gz" cli/tests/golden/colin27_deepbet.nii.gz

say "## INT8 of the small network in the repository"
show ampoule optimize assets/quick/discs.onnx -o "$work/discs_int8.onnx" --recipe discs --calibrate assets/quick/calibrate \
  --validate assets/quick/validate --truth assets/quick/truth --max-drop dice=0.01

say "## Networks alone"
against=""
if [ -x .venv-bench/bin/python ]; then
  against="--against onnxruntime,openvino"
else
  say "Without other engines: \`tools/peers.sh\` was not run here."
fi
# bench MODEL [OPTION…]
bench() {
  # shellcheck disable=SC2086
  show ampoule bench "$@" --threads 1,2 --seconds "$seconds" $against
}
bench assets/quick/discs.onnx "$work/discs_int8.onnx"
if [ -d "$shared/models" ]; then
  for model in dfu_vgg11 dfu_densenet121 he_resunet16 mindgrab_meshnet deepbrain_unet; do
    [ -f "$shared/models/$model.onnx" ] || continue
    bench "$shared/models/$model.onnx"
    bench "$shared/models/$model.onnx" --precision bf16
  done
else
  say "Without the networks of \`$shared/models\`, which is not here."
fi

say "## Memory that is planned"
show ampoule inspect assets/quick/discs.onnx --size 512
for model in he_resunet16 mindgrab_meshnet; do
  [ -f "$shared/models/$model.onnx" ] && show ampoule inspect "$shared/models/$model.onnx" --size 256
done

say "## Agreement with the original programs"
oracle=$shared/data/brain/oracle
if [ -d "$oracle" ] && ls target/wheels/deepbet-*.whl >/dev/null 2>&1 && [ -f target/heads/ch2.nii.gz ]; then
  say "Masks against those of the original deepbet. \`scripts/verify.sh\` compares HD-BET and all orientations too."
  export AMPOULE_MODELS=$work/models
  [ -f "$AMPOULE_MODELS/deepbet.onnx" ] || ampoule models fetch deepbet --from target/wheels/deepbet-*.whl >/dev/null
  mkdir "$work/heads"
  cp target/heads/ch2.nii.gz "$shared"/data/brain/chris_t1.nii.gz "$shared"/data/brain/t1_crop.nii.gz "$work/heads"
  show ampoule run deepbet "$work/heads" -o "$work/masks" --threads 2
  for head in ch2 chris_t1 t1_crop; do
    show ampoule evaluate "$work/masks/${head}_mask.nii.gz" "$oracle/${head}_deepbet.nii.gz"
  done
else
  say "Without the masks of \`$shared/data/brain/oracle\`, or what \`scripts/oracles.sh\` fetches."
fi

say "## A slide"
if [ -f "$shared/models/he_resunet16.onnx" ] && [ -f target/slides/default.svs ]; then
  show ampoule run "$shared/models/he_resunet16.onnx" target/slides/default.svs -o "$work/slide" --recipe glas --threads 2
else
  say "Without the slide that \`scripts/oracles.sh\` fetches, or the network of \`$shared/models\`."
fi

cp "$page" "$output"
echo "$output: $failed commands failed"
[ "$failed" -eq 0 ]
