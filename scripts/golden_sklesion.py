#!/usr/bin/env python3
"""Makes crates/zoo/tests/golden/sklesion.json: what Keras computes with the network of the package sklesion.

    python scripts/golden_sklesion.py

Needs keras==3.3.3, jax[cpu] (its backend here), packaging, numpy and pillow, which scripts/oracles.sh does not install, and the
wheel that it fetches. (Keras's PyTorch backend shifts strided convolutions of one pixel on even sizes by a pixel.) The
photo's resampling is TensorFlow's `image.resize`, written out in numpy.
"""

import json
import os
import pathlib
import tempfile
import zipfile

os.environ["KERAS_BACKEND"] = "jax"

import keras
import numpy as np
from PIL import Image

OUT = pathlib.Path("crates/zoo/tests/golden/sklesion.json")
WHEEL = pathlib.Path("target/wheels/sklesion-0.2.2-py3-none-any.whl")
PHOTOS = ["crates/imaging/tests/golden/photos/source.png", "crates/imaging/tests/golden/shell/picture.png"]
# Sex, place, age / 90 and whether it is missing.
PATIENTS = [[0, 0, 1, 0, 0, 0, 0, 1, 0.5766867, 1], [0, 1, 0, 0, 0, 0, 1, 0, 70 / 90, 0]]


def taps(n, count):
    at = (np.arange(count, dtype=np.float32) + np.float32(0.5)) * np.float32(n / count) - np.float32(0.5)
    low = np.floor(at)
    return np.maximum(low, 0).astype(int), np.minimum(np.ceil(at), n - 1).astype(int), at - low


def resized(image, side=254):
    x = image.astype(np.float32)
    y0, y1, fy = taps(x.shape[0], side)
    x0, x1, fx = taps(x.shape[1], side)
    fx, fy = fx[None, :, None], fy[:, None, None]
    top = x[y0][:, x0] + (x[y0][:, x1] - x[y0][:, x0]) * fx
    low = x[y1][:, x0] + (x[y1][:, x1] - x[y1][:, x0]) * fx
    return top + (low - top) * fy


def main():
    with tempfile.TemporaryDirectory() as folder:
        zipfile.ZipFile(WHEEL).extract("sklesion/model.keras", folder)
        model = keras.saving.load_model(pathlib.Path(folder) / "sklesion/model.keras", compile=False)
    cases = []
    for photo in PHOTOS:
        x = resized(np.asarray(Image.open(photo).convert("RGB")))[None]
        for patient in PATIENTS:
            p = model.predict([x, np.array([patient], np.float32)], verbose=0)[0]
            cases.append({"photo": photo, "patient": patient, "prob": [float(v) for v in p]})
    OUT.parent.mkdir(parents=True, exist_ok=True)
    OUT.write_text(json.dumps(cases, indent=1) + "\n")


if __name__ == "__main__":
    main()
