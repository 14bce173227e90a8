#!/usr/bin/env python3
"""Makes crates/imaging/tests/golden/histology: stains by torchstain and scikit-image, tissue by scikit-image and scipy.

    .venv/bin/python scripts/golden_histology.py

scripts/oracles.sh makes the environment. The same versions give the same files.
"""

import json
import pathlib

import numpy as np
import scipy.ndimage
import skimage.color
import skimage.filters
from PIL import Image
from torchstain.numpy.normalizers import NumpyMacenkoNormalizer

from golden_slides import picture

OUT = pathlib.Path("crates/imaging/tests/golden/histology")


def stained(h, w, seed):
    """Two stains in random amounts on glass."""
    rng = np.random.default_rng(seed)
    vectors = np.array([[0.65, 0.70, 0.29], [0.07, 0.99, 0.11]])
    amounts = np.stack([scipy.ndimage.gaussian_filter(rng.random((h, w)), 2) for _ in range(2)], -1)
    amounts = np.clip((amounts - 0.42) * 6, 0, None) * [1.6, 1.1]
    rgb = 245 * np.exp(-amounts @ vectors) + rng.normal(0, 2, (h, w, 3))
    return np.clip(np.round(rgb), 0, 255).astype(np.uint8)


def main():
    OUT.mkdir(parents=True, exist_ok=True)
    image, target = stained(80, 100, 1), stained(80, 100, 2)
    target = (target * [0.9, 0.85, 1.0]).astype(np.uint8)
    Image.fromarray(image).save(OUT / "stained.png")
    macenko = NumpyMacenkoNormalizer()
    Image.fromarray(macenko.normalize(image, stains=False)[0]).save(OUT / "macenko.png")
    # torchstain's Reinhard lets colours beyond white wrap around; scikit-image's conversions clip.
    wanted = skimage.color.rgb2lab(target).reshape(-1, 3)
    mean, deviation = wanted.mean(0), wanted.std(0)
    lab = skimage.color.rgb2lab(image).reshape(-1, 3)
    moved = (lab - lab.mean(0)) / lab.std(0) * deviation + mean
    reinhard = skimage.color.lab2rgb(moved).reshape(image.shape) * 255
    Image.fromarray(reinhard.astype(np.uint8)).save(OUT / "reinhard.png")
    # Tissue, before closing and dropping.
    slide = picture(200, 140)
    Image.fromarray(slide).save(OUT / "slide.png")
    most, least = slide.max(-1).astype(float), slide.min(-1).astype(float)
    saturation = np.floor(255 * (most - least) / np.maximum(most, 1) + 0.5).astype(np.uint8)
    median = scipy.ndimage.median_filter(saturation, 7, mode="nearest")
    Image.fromarray(median).save(OUT / "median.png")
    golden = {
        "mean": mean.ravel().tolist(),
        "deviation": deviation.ravel().tolist(),
        "otsu": int(skimage.filters.threshold_otsu(median)),
        "lab": [[[int(v) for v in c], skimage.color.rgb2lab(np.array(c, np.uint8)[None, None])[0, 0].tolist()]
                for c in ([0, 0, 0], [255, 255, 255], [200, 120, 180], [90, 60, 130], [3, 2, 1])],
    }
    (OUT / "golden.json").write_text(json.dumps(golden, indent=1) + "\n")


if __name__ == "__main__":
    main()
