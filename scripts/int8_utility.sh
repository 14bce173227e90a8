#!/bin/sh
# INT8 beside float32 on cases that were not calibrated on: `int8_utility.sh SHARED WORK` after
# `int8_cases.py SHARED WORK`. Leaves the models in WORK. deepbet must have been fetched.
set -eu
shared=$1 work=$2
ampoule="target/release/ampoule optimize --overwrite"
cargo build --release --quiet
$ampoule "$shared/models/he_resunet16.onnx" --recipe recipes/glas.toml -o "$work/glas8.onnx" \
    --calibrate "$work/he/cal" --validate "$work/he/val" --truth "$shared/data/he_train/masks" \
    --max-drop dice=0.01 --max-drop agreement=0.01 2> /dev/null
for model in dfu_vgg11 dfu_densenet121; do
    $ampoule "$shared/models/$model.onnx" --recipe recipes/dfu.toml -o "$work/$model.onnx" \
        --calibrate "$work/dfu/cal" --validate "$work/dfu/val" --truth "$work/dfu/val.csv" \
        --max-drop accuracy=0.01 --max-drop agreement=0.015 2> /dev/null
done
$ampoule deepbet -o "$work/deepbet8.onnx" --calibrate "$work/brain/cal" --validate "$work/brain/val" 2> /dev/null
