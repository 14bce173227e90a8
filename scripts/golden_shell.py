#!/usr/bin/env python3
"""Makes crates/imaging/tests/golden/shell: what the package lavlab-shell makes of a stained picture.

    .venv/bin/python scripts/golden_shell.py

Needs the environment and the wheel that scripts/oracles.sh installs. The preparation is the package's own code; its
network runs in ONNX Runtime, in a frame of 1024 by 1024 as the package's `run_inference` lays it.
"""

import json
import pathlib
import sys
import tempfile
import types
import zipfile

import numpy as np
import onnxruntime
from PIL import Image

from golden_histology import stained

OUT = pathlib.Path("crates/imaging/tests/golden/shell")
WHEEL = pathlib.Path("target/wheels/lavlab_shell-0.9.1-py3-none-any.whl")
FRAME = 1024


def package(folder):
    """Imports the package's transforms; the parts of MONAI that it names as base classes are not needed."""
    zipfile.ZipFile(WHEEL).extractall(folder)
    sys.path.insert(0, folder)
    monai = types.ModuleType("monai")
    data, transforms = types.ModuleType("monai.data"), types.ModuleType("monai.transforms")
    data.MetaTensor = type("MetaTensor", (), {})
    transforms.MapTransform = type("MapTransform", (), {})
    transforms.Resize = type("Resize", (), {})
    monai.data, monai.transforms = data, transforms
    sys.modules.update({"monai": monai, "monai.data": data, "monai.transforms": transforms})
    import shell.transforms

    return shell.transforms


def main():
    OUT.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        t = package(folder)
        image = stained(150, 212, 7)
        image[:, :40] = 243 + np.random.default_rng(1).integers(-2, 3, (150, 40, 3))
        Image.fromarray(image).save(OUT / "picture.png")
        glass = t.detect_background(image)
        Image.fromarray(glass.astype(np.uint8) * 255).save(OUT / "glass.png")
        params = t.estimate_stain_params(image, bg_mask=glass)
        channels = t.apply_eho_chunked(image, chunk_rows=image.shape[0], **params)
        Image.fromarray(channels).save(OUT / "channels.png")
        x = channels.transpose(2, 0, 1).astype(np.float32)
        low, high = x.min((1, 2), keepdims=True), x.max((1, 2), keepdims=True)
        x = ((x - low) / (high - low))[None]
        h, w = x.shape[2:]
        ph, pw = -h % 64, -w % 64
        x = np.pad(x, ((0, 0), (0, 0), (ph // 2, ph - ph // 2), (pw // 2, pw - pw // 2)), mode="reflect")
        fh, fw = FRAME - x.shape[2], FRAME - x.shape[3]
        x = np.pad(x, ((0, 0), (0, 0), (fh // 2, fh - fh // 2), (fw // 2, fw - fw // 2)))
        session = onnxruntime.InferenceSession(pathlib.Path(folder) / "shell/weights/model_v1.onnx")
        logits = session.run(None, {"input": x})[0]
        top, left = fh // 2 + ph // 2, fw // 2 + pw // 2
        p = 1 / (1 + np.exp(-logits[0, :, top : top + h, left : left + w].astype(np.float64)))
        Image.fromarray(np.round(p.transpose(1, 2, 0) * 255).astype(np.uint8)).save(OUT / "probabilities.png")
        (OUT / "golden.json").write_text(json.dumps({"mean": p.mean((1, 2)).tolist()}) + "\n")


if __name__ == "__main__":
    main()
