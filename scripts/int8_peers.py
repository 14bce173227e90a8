"""Quantized models in other engines, and other tools' quantized models here.

    .venv-bench/bin/python scripts/int8_peers.py SHARED WORK

SHARED holds models/ and data/ as the cards there say. WORK holds the models that `ampoule optimize` wrote
(glas8.onnx, dfu_vgg11.onnx, dfu_densenet121.onnx) and gets the others. Prints the share of labels on
which two engines agree, and the agreement of each tool's INT8 model with the original in float32.
Needs onnxruntime, openvino, nncf, pillow, numpy and a release build of the `tensor` example.
"""

import csv
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime as ort
import openvino as ov
from PIL import Image

from quantizers import nncf_quantized, ort_quantized

shared, work = Path(sys.argv[1]), Path(sys.argv[2])
MEAN = np.array([0.485, 0.456, 0.406], np.float32)
DEVIATION = np.array([0.229, 0.224, 0.225], np.float32)


def tensor(image):
    x = np.asarray(image.convert("RGB"), np.float32) / 255
    return ((x - MEAN) / DEVIATION).transpose(2, 0, 1)[None].copy()


def patches(split, count):
    rows = list(csv.DictReader(open(shared / "data/splits" / f"dfu_patches_{split}.csv")))
    rows = rows[:: max(1, len(rows) // count)][:count]
    for r in rows:
        x, y = int(r["x"]), int(r["y"])
        yield tensor(Image.open(shared / "data" / r["file"]).convert("RGB").crop((x, y, x + 128, y + 128)))


def tiles(split, count):
    names = [l.strip() for l in open(shared / "data/splits" / f"he_{split}.txt") if l.strip()][:count]
    for n in names:
        stem = Path(n).stem
        file = next((shared / "data/he_train/images").glob(stem + ".*"))
        image = Image.open(file).convert("RGB").reduce(2)
        yield tensor(image.crop((0, 0, image.width // 16 * 16, image.height // 16 * 16)))


def ampoule(model, x):
    x.astype("<f4").tofile(work / "in.f32")
    dims = "x".join(map(str, x.shape))
    subprocess.run(["target/release/examples/tensor", model, work / "in.f32", dims, work / "out.f32"], check=True)
    return np.fromfile(work / "out.f32", "<f4")


def in_ort(model):
    session = ort.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda x: session.run(None, {name: x})[0]


def in_openvino(model):
    compiled = ov.Core().compile_model(str(model), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return lambda x: compiled(x)[0]


def labels(y, classes):
    return y.reshape(y.shape[0] if y.ndim > 1 else 1, classes, -1).argmax(1).ravel()


def agree(a, b, inputs, classes):
    same = total = 0
    for x in inputs:
        p, q = labels(np.asarray(a(x)).reshape(1, classes, -1), classes), labels(np.asarray(b(x)).reshape(1, classes, -1), classes)
        same, total = same + (p == q).sum(), total + p.size
    return same / total


JOBS = [
    ("dfu_vgg11", shared / "models/dfu_vgg11.onnx", work / "dfu_vgg11.onnx", patches, 60, 40),
    ("dfu_densenet121", shared / "models/dfu_densenet121.onnx", work / "dfu_densenet121.onnx", patches, 60, 40),
    ("glas", shared / "models/he_resunet16.onnx", work / "glas8.onnx", tiles, 6, 3),
]
for name, original, ours, cases, calibrate, count in JOBS:
    calibration, inputs = list(cases("train", calibrate)), list(cases("dev", count))
    float32 = in_ort(original)
    here = lambda model: lambda x: ampoule(model, x)
    print(f"{name}: ours in ONNX Runtime {agree(here(ours), in_ort(ours), inputs, 2):.5f}, in OpenVINO {agree(here(ours), in_openvino(ours), inputs, 2):.5f}", flush=True)
    print(f"{name}: with float32: ours {agree(here(ours), float32, inputs, 2):.5f}", flush=True)
    for tool in ["ort-qdq", "ort-qoperator", "nncf"]:
        target = work / f"{name}.{tool}.onnx"
        try:
            if tool == "nncf":
                nncf_quantized(original, target, calibration)
            else:
                ort_quantized(original, target, calibration, tool[4:])
            theirs = in_openvino(target) if tool == "nncf" else in_ort(target)
            print(f"{name}: {tool} in its own engine with float32 {agree(theirs, float32, inputs, 2):.5f}", flush=True)
            print(f"{name}: {tool} here and there {agree(here(target), theirs, inputs, 2):.5f}", flush=True)
        except Exception as e:  # one tool's failure is a row
            print(f"{name}: {tool} failed: {str(e).splitlines()[-1][:200]}", flush=True)
