"""A network on raw arrays: names, shapes, a run, and the same run again with other pixels.

python tensors.py [MODEL.onnx]
"""

import pathlib
import sys
import time

import numpy as np

import ampoule_ai as ampoule

ASSETS = pathlib.Path(__file__).parents[2] / "assets"

model = ampoule.Model.open(sys.argv[1] if len(sys.argv) > 1 else ASSETS / "quick/discs.onnx", threads=1)
for info in model.inputs:
    print("input ", info.name, info.shape, info.dtype)

# Free axes get a size; the batch is one image.
shapes = {i.name: [n if isinstance(n, int) else (1 if k == 0 else 64) for k, n in enumerate(i.shape)] for i in model.inputs}
random = np.random.default_rng(1)
for turn in ("first", "again"):
    arrays = {name: random.normal(0, 1, shape).astype(np.float32) for name, shape in shapes.items()}
    begun = time.perf_counter()
    outputs = model.run(arrays)
    print(turn, {name: a.shape for name, a in outputs.items()}, f"{1e3 * (time.perf_counter() - begun):.1f} ms")
