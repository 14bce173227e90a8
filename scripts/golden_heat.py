#!/usr/bin/env python3
"""Heat maps of a small classifier by ONNX Runtime: what hiding parts of a photo does, and the windows of a larger photo.

Writes into crates/pipeline/tests/golden/heat: a network with random weights (seeded), its recipe, two photos, and
`golden.json` with the numbers and maps. Pillow resizes; the way back from the network's grid to the photo is numpy's.
Needs the environment of scripts/oracles.sh:

    .venv/bin/python scripts/golden_heat.py
"""

import json
import math
import pathlib

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

OUT = pathlib.Path("crates/pipeline/tests/golden/heat")
SIDE, SHORTER, WINDOW, SEED = 64, 72, 64, 16
MEAN, DEVIATION = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
RECIPE = """version = 2

[model]
name = "heat"
task = "classification"

[[input]]
name = "photo"
kind = "image"

[[preprocess]]
step = "resize"
shorter = 72
method = "bilinear"

[[preprocess]]
step = "centre-crop"
size = [64, 64]

[[preprocess]]
step = "mean-deviation"
mean = [0.485, 0.456, 0.406]
deviation = [0.229, 0.224, 0.225]

[[network]]
outputs = ["prob"]

[[label]]
name = "none"

[[label]]
name = "red"

[[label]]
name = "green"
"""
TILES = """
[tiles]
window = 64
top = 2
"""


def network():
    random = np.random.default_rng(SEED)
    weights = {
        "w1": random.normal(0, 0.3, (8, 3, 5, 5)), "b1": random.normal(0, 0.2, 8),
        "w2": random.normal(0, 0.25, (12, 8, 3, 3)), "b2": random.normal(0, 0.2, 12),
        "w3": random.normal(0, 3.0, (3, 12)), "b3": random.normal(0, 0.3, 3),
    }
    nodes = [
        helper.make_node("Conv", ["image", "w1", "b1"], ["c1"], kernel_shape=[5, 5], strides=[2, 2], pads=[2, 2, 2, 2]),
        helper.make_node("Relu", ["c1"], ["r1"]),
        helper.make_node("Conv", ["r1", "w2", "b2"], ["c2"], kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c2"], ["r2"]),
        helper.make_node("GlobalAveragePool", ["r2"], ["p"]),
        helper.make_node("Flatten", ["p"], ["f"]),
        helper.make_node("Gemm", ["f", "w3", "b3"], ["g"], transB=1),
        helper.make_node("Softmax", ["g"], ["prob"], axis=1),
    ]
    graph = helper.make_graph(
        nodes, "heat", [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 3, SIDE, SIDE])],
        [helper.make_tensor_value_info("prob", TensorProto.FLOAT, ["n", 3])],
        [numpy_helper.from_array(w.astype(np.float32), n) for n, w in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return model


def photo(w, h, seed):
    y, x = np.mgrid[0:h, 0:w].astype(float)
    random = np.random.default_rng(seed)
    rgb = np.full((h, w, 3), 150.0) + 20 * np.sin(x / 9)[..., None] + 12 * np.cos(y / 7)[..., None]
    for _ in range(4):
        cx, cy, r = random.uniform(0, w), random.uniform(0, h), random.uniform(9, 22)
        blob = np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / (2 * r * r))
        rgb += blob[..., None] * (random.uniform(0, 255, 3) - 128)
    return np.clip(np.round(rgb), 0, 255).astype(np.uint8)


def starts(size, window, overlap=0.5):
    step = max(int(window * (1 - overlap)), 1)
    list_ = [min(i * step, size - window) for i in range(math.ceil(max(size - window, 0) / step) + 1)]
    return sorted(set(list_))


def prepared(image):
    """Pixels as the network sees them, and where the crop lies in the resized photo."""
    h, w = image.shape[:2]
    size = (SHORTER, int(SHORTER * h / w)) if w < h else (int(SHORTER * w / h), SHORTER)
    resized = np.asarray(Image.fromarray(image).resize(size, Image.BILINEAR), np.float64)
    top, left = (round((n - SIDE) / 2) for n in resized.shape[:2])
    crop = resized[top:top + SIDE, left:left + SIDE]
    x = ((crop / 255 - MEAN) / DEVIATION).transpose(2, 0, 1).astype(np.float32)
    return x, size, (left, top)


def back(grid, size, at, full):
    """The network's grid on the photo: nothing outside of the crop, linear by half pixels."""
    whole = np.full((size[1], size[0]), np.nan)
    whole[at[1]:at[1] + SIDE, at[0]:at[0] + SIDE] = grid
    inside = np.isfinite(whole)
    filled = np.where(inside, whole, 0.0)

    def along(a, n):
        m = a.shape[-1]
        p = np.clip((np.arange(n) + 0.5) * m / n - 0.5, 0, m - 1)
        low = np.minimum(p.astype(int), m - 2)
        share = p - low
        return a[..., low] * (1 - share) + a[..., low + 1] * share

    two = lambda a: along(along(a, full[0]).T, full[1]).T
    return two(filled), two(inside.astype(float))


def main():
    OUT.mkdir(parents=True, exist_ok=True)
    model = network()
    onnx.save(model, OUT / "heat.onnx")
    (OUT / "heat.toml").write_text(RECIPE)
    (OUT / "tiles.toml").write_text(RECIPE + TILES)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    run = lambda x: session.run(["prob"], {"image": x[None]})[0][0].astype(np.float64)
    small, large = photo(120, 90, 3), photo(200, 150, 8)
    Image.fromarray(small).save(OUT / "small.png")
    Image.fromarray(large).save(OUT / "large.png")

    x, size, at = prepared(small)
    scores = run(x)
    label = int(scores.argmax())
    side = -(-SIDE // 6)
    total, count = np.zeros((SIDE, SIDE)), np.zeros((SIDE, SIDE))
    for top in starts(SIDE, side):
        for left in starts(SIDE, side):
            hidden = x.copy()
            part = np.s_[top:top + side, left:left + side]
            hidden[(slice(None), *part)] = x.mean(axis=(1, 2), dtype=np.float64)[:, None, None]
            total[part] += scores[label] - run(hidden)[label]
            count[part] += 1
    drops = np.maximum(total / count, 0)
    most = max(drops.max(), 0.01)
    values, inside = back(drops / most, size, at, (120, 90))
    hidden = {"label": label, "numbers": scores.tolist(), "top": most,
              "values": [round(v, 4) if i > 0 else None for v, i in zip(values.ravel(), inside.ravel())]}

    columns, rows = starts(200, WINDOW), starts(150, WINDOW)
    all_ = [[run(prepared(large[top:top + WINDOW, left:left + WINDOW])[0]) for left in columns] for top in rows]
    flat = np.array(all_).reshape(-1, 3)
    order = np.argsort(flat[:, 0], kind="stable")[:2]
    numbers = flat[order].mean(axis=0)
    label = 1 + int(numbers[1:].argmax())
    cell = WINDOW // 8
    wide, high = -(-200 // cell), -(-150 // cell)
    grid = np.zeros((high, wide))
    for j in range(high):
        for i in range(wide):
            cx, cy = (i + 0.5) * 200 / wide, (j + 0.5) * 150 / high
            over = [all_[r][c][label] for r, top in enumerate(rows) for c, left in enumerate(columns)
                    if left <= cx < left + WINDOW and top <= cy < top + WINDOW]
            grid[j, i] = np.mean(over)
    tiles = {"label": label, "numbers": numbers.tolist(), "windows": len(flat), "size": [wide, high],
             "values": np.round(grid, 6).ravel().tolist()}
    (OUT / "golden.json").write_text(json.dumps({"hidden": hidden, "tiles": tiles}) + "\n")
    print("hidden parts:", hidden["label"], scores, "most", most, "| windows:", len(flat), numbers)


if __name__ == "__main__":
    main()
