"""Makes the small study's network and tiles: assets/quick/.

Bright discs on an uneven, noisy ground. The network has two layers of seeded random filters and a last one fitted by
ridge regression on tiles of its own, so that it is as good as such a network can be without training. Needs numpy,
scipy, pillow and onnx (scripts/oracles.sh).
"""

import shutil
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from PIL import Image
from scipy.signal import correlate

SIDE = 64
out = Path(__file__).parent.parent / "assets/quick"
rng = np.random.default_rng(2025)


def tile():
    y, x = np.mgrid[0:SIDE, 0:SIDE]
    truth = np.zeros((SIDE, SIDE), bool)
    for _ in range(rng.integers(1, 5)):
        cx, cy, r = rng.uniform(8, SIDE - 8), rng.uniform(8, SIDE - 8), rng.uniform(4, 12)
        truth |= (x - cx) ** 2 + (y - cy) ** 2 < r * r
    slope = rng.uniform(-0.5, 0.5, 2)
    ground = 90 + slope[0] * (x - SIDE / 2) + slope[1] * (y - SIDE / 2)
    grey = ground + 45 * truth
    rgb = grey[..., None] * np.array([1.0, 0.85, 0.95]) + rng.normal(0, 14, (SIDE, SIDE, 3))
    # Coarse levels keep the files small.
    return (np.clip(rgb, 0, 255) / 8).round().astype(np.uint8) * 8, truth


def conv(x, w, b):
    k = w.shape[-1] // 2
    x = np.pad(x, ((0, 0), (k, k), (k, k)))
    return np.stack([sum(correlate(x[c], f[c], "valid") for c in range(len(x))) + bias for f, bias in zip(w, b)])


def smooth(n, c, k):
    """Random filters with a blur in them: noise goes, edges stay."""
    line = np.exp(-0.5 * (np.arange(k) - k // 2) ** 2 / (k / 4) ** 2)
    blur = np.outer(line, line) / line.sum() ** 2
    mix = rng.normal(0, 1, (n, c, 1, 1)) / np.sqrt(c)
    return (mix * (blur + rng.normal(0, 0.15 / k, (n, c, k, k)))).astype(np.float32)


w1, b1 = smooth(16, 3, 7), rng.normal(0, 0.3, 16).astype(np.float32)
w2, b2 = smooth(32, 16, 7), rng.normal(0, 0.2, 32).astype(np.float32)


def features(rgb):
    x = (rgb.astype(np.float32) / 255 - 0.4).transpose(2, 0, 1)
    return np.maximum(conv(np.maximum(conv(x, w1, b1), 0), w2, b2), 0)


fit = [tile() for _ in range(24)]
a = np.concatenate([features(rgb).reshape(32, -1).T for rgb, _ in fit])
a = np.concatenate([a, np.ones((len(a), 1))], 1)
t = np.concatenate([np.where(m, 1.0, -1.0).ravel() for _, m in fit])
w = np.linalg.solve(a.T @ a + 1e-3 * np.eye(33), a.T @ t)
w3 = np.stack([-w[:32], w[:32]]).astype(np.float32)[:, :, None, None] * 4
b3 = np.array([-w[32], w[32]], np.float32) * 4

shutil.rmtree(out, ignore_errors=True)
values = {"w1": w1, "b1": b1, "w2": w2, "b2": b2, "w3": w3, "b3": b3}
nodes = [
    helper.make_node("Conv", ["image", "w1", "b1"], ["c1"], "first", pads=[3] * 4),
    helper.make_node("Relu", ["c1"], ["r1"], "first_relu"),
    helper.make_node("Conv", ["r1", "w2", "b2"], ["c2"], "second", pads=[3] * 4),
    helper.make_node("Relu", ["c2"], ["r2"], "second_relu"),
    helper.make_node("Conv", ["r2", "w3", "b3"], ["logits"], "last"),
    helper.make_node("Softmax", ["logits"], ["prob"], "softmax", axis=1),
]
image = helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, "h", "w"])
prob = helper.make_tensor_value_info("prob", TensorProto.FLOAT, [1, 2, "h", "w"])
initial = [numpy_helper.from_array(v, k) for k, v in values.items()]
graph = helper.make_graph(nodes, "discs", [image], [prob], initial)
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
onnx.checker.check_model(model)
overlap = []
for folder, n in [("calibrate", 8), ("validate", 8), ("test", 16)]:
    (out / folder).mkdir(parents=True)
    for i in range(n):
        rgb, truth = tile()
        Image.fromarray(rgb).save(out / folder / f"{folder}{i:02}.png", optimize=True)
        if folder != "calibrate":
            (out / "truth").mkdir(exist_ok=True)
            Image.fromarray(truth.astype(np.uint8)).convert("L").save(out / "truth" / f"{folder}{i:02}.png", optimize=True)
        z = np.tensordot(w[:32], features(rgb), 1) + w[32]
        overlap.append(2 * ((z > 0) & truth).sum() / max(1, (z > 0).sum() + truth.sum()))
onnx.save(model, out / "discs.onnx")
print(f"mean Dice {np.mean(overlap):.3f}")
