#!/bin/sh
# INT8 beside OpenVINO on the same quantized files: models from YARD (shared/peers/fill.py makes them),
# quantized on noise into WORK: directly, and rounded in the transform domain (names with _w). OpenVINO is kept
# from the matrix unit (AMX) of some servers; then both are held to AVX2. HD-BET's network, if WORK has hdbet.onnx and
# hdbet_w.onnx (see docs/measuring.md), runs on patches of 128³.
set -eu
yard=$1 work=$2
mkdir -p "$work"
cargo build --release --quiet -p ampoule-optimize --example quantize
cargo build --release --quiet --features peers
for m in hdbet brain3d_resunet16 brain3d_nnunet he2d_unet resnet50 densenet121 efficientnet_b0; do
    [ "$m" != hdbet ] || [ -f "$work/hdbet_w.onnx" ] || continue
    [ -f "$work/$m.onnx" ] || target/release/examples/quantize "$yard/$m.onnx" "$work/$m.onnx"
    [ -f "$work/${m}_w.onnx" ] || target/release/examples/quantize "$yard/$m.onnx" "$work/${m}_w.onnx" winograd
    for file in "$m" "${m}_w"; do
        ONEDNN_MAX_CPU_ISA=AVX512_CORE_VNNI target/release/ampoule bench "$work/$file.onnx" --threads 1,2 \
            --seconds "${SECONDS_EACH:-3}" --against openvino
    done
    ONEDNN_MAX_CPU_ISA=AVX2 target/release/ampoule bench "$work/$m.onnx" --threads 1 --isa avx2 \
        --seconds "${SECONDS_EACH:-3}" --against openvino
done
