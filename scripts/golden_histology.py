#!/usr/bin/env python3
"""Makes crates/imaging/tests/golden/histology: stains by torchstain and scikit-image, tissue by scikit-image and scipy; and
cli/tests/golden/wsinfer: a slide with the patches that WSInfer looks at, by OpenSlide, Pillow, scikit-image and shapely.

    .venv/bin/python scripts/golden_histology.py

scripts/oracles.sh makes the environment. The same versions give the same files.
"""

import json
import pathlib

import numpy as np
import openslide
import scipy.ndimage
import shapely
import skimage.color
import skimage.filters
import skimage.morphology
import tifffile
from PIL import Image
from torchstain.numpy.normalizers import NumpyMacenkoNormalizer

from golden_slides import half, picture

OUT = pathlib.Path("crates/imaging/tests/golden/histology")
WSINFER = pathlib.Path("cli/tests/golden/wsinfer")
# Microns a pixel of the slide and of the patches, pixels along a patch, and along what the network sees.
MPP, SPACING, PATCH, SEEN = 2.02, 4.0, 64, 32


def stained(h, w, seed):
    """Two stains in random amounts on glass."""
    rng = np.random.default_rng(seed)
    vectors = np.array([[0.65, 0.70, 0.29], [0.07, 0.99, 0.11]])
    amounts = np.stack([scipy.ndimage.gaussian_filter(rng.random((h, w)), 2) for _ in range(2)], -1)
    amounts = np.clip((amounts - 0.42) * 6, 0, None) * [1.6, 1.1]
    rgb = 245 * np.exp(-amounts @ vectors) + rng.normal(0, 2, (h, w, 3))
    return np.clip(np.round(rgb), 0, 255).astype(np.uint8)


def blobs(w, h):
    """Pieces of tissue on glass: large and small, pale and strong, with holes, at the borders, and joined by threads."""
    rgb = np.full((h, w, 3), 243, np.uint8)
    y, x = np.mgrid[0:h, 0:w].astype(np.float32)
    ellipses = [
        (1300, 1100, 900, 700, (214, 150, 190)), (1500, 1250, 180, 120, (243, 243, 243)), (900, 900, 40, 45, (243, 243, 243)),
        (3600, 900, 700, 480, (232, 222, 230)), (3300, 2600, 1100, 620, (170, 110, 170)), (3300, 2600, 420, 260, (243, 243, 243)),
        (3300, 2600, 130, 120, (150, 90, 160)), (600, 2700, 60, 60, (200, 120, 180)), (1200, 2800, 130, 110, (200, 120, 180)),
        (4990, 1800, 330, 420, (205, 140, 190)), (300, 3590, 420, 160, (205, 140, 190)), (2350, 200, 240, 330, (236, 230, 236)),
    ]
    for cx, cy, rx, ry, colour in ellipses:
        wave = 1 + 0.12 * np.sin(np.arctan2(y - cy, x - cx) * 7 + cx)
        rgb[((x - cx) / rx) ** 2 + ((y - cy) / ry) ** 2 < wave] = colour
    rgb[1000:1012, 2100:3000] = (190, 120, 180)
    return rgb


def traced(region):
    """The outermost pixels of a region in the order of a walk around it, by Moore's neighbours: x and y."""
    around = [(0, -1), (-1, -1), (-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1)]
    padded = np.pad(region, 1)
    start = tuple(np.argwhere(padded)[0])
    points, at, before = [start], start, 0
    while True:
        for k in range(1, 9):
            way = (before + k) % 8
            to = (at[0] + around[way][0], at[1] + around[way][1])
            if padded[to]:
                break
        else:
            break
        # The neighbour that was looked at before this one is empty; it is seen from the new place.
        last = around[(way - 1) % 8]
        empty = (at[0] + last[0] - to[0], at[1] + last[1] - to[1])
        at, before = to, around.index(empty)
        if at == start and len(points) > 2 and points[1] == next_of(padded, start, before, around):
            break
        points.append(at)
    return [(x - 1, y - 1) for y, x in points]


def next_of(padded, at, before, around):
    for k in range(1, 9):
        d = around[(before + k) % 8]
        if padded[at[0] + d[0], at[1] + d[1]]:
            return (at[0] + d[0], at[1] + d[1])


def outlined(mask, scale):
    """What the outlines of a mask enclose, less its holes, in pixels of the slide."""
    eight = np.ones((3, 3))
    polygon = shapely.MultiPolygon()
    scaled = lambda points: shapely.Polygon([(x * scale[0], y * scale[1]) for x, y in points]).buffer(0)
    objects, n = scipy.ndimage.label(mask, eight)
    for k in range(1, n + 1):
        points = traced(objects == k)
        polygon = polygon.union(scaled(points)) if len(points) > 2 else polygon
    holes, n = scipy.ndimage.label(~np.pad(mask, 1))
    for k in range(1, n + 1):
        hole = (holes == k)[1:-1, 1:-1]
        if holes[0, 0] != k:
            around = scipy.ndimage.binary_dilation(hole)
            polygon = polygon.difference(scaled(traced(around)))
    return polygon


def wsinfer():
    """A slide, WSInfer's configuration and its table of patches; the network is `photo_model` of cli/tests/cli.rs."""
    WSINFER.mkdir(parents=True, exist_ok=True)
    image, path = blobs(5040, 3640), WSINFER / "slide.tif"
    with tifffile.TiffWriter(path) as t:
        for level in range(2):
            size = 1e4 / MPP / 2**level
            t.write(image, tile=(256, 256), subfiletype=int(level > 0), resolution=(size, size), resolutionunit="CENTIMETER",
                    compression="deflate", compressionargs={"level": 9}, metadata=None)
            image = half(image)
    config = {"spec_version": "1.0", "architecture": "x", "num_classes": 2, "class_names": ["Other", "Tumor"], "patch_size_pixels": PATCH,
              "spacing_um_px": SPACING, "transform": [{"name": "Resize", "arguments": {"size": SEEN}}, {"name": "ToTensor"},
                                                      {"name": "Normalize", "arguments": {"mean": [0, 0, 0], "std": [1, 1, 1]}}]}
    (WSINFER / "config.json").write_text(json.dumps(config) + "\n")
    slide = openslide.open_slide(path)
    w, h = slide.dimensions
    side = round(PATCH * SPACING / MPP)
    half_side = round(side / 2)
    thumb = slide.get_thumbnail((2048, 2048))
    area = (MPP * (np.array([w, h]) / thumb.size)).mean() ** 2
    rgb = np.asarray(thumb).astype(np.int64)
    most, least = rgb.max(-1), rgb.min(-1)
    table = np.array([0] + [round((255 << 12) / v) for v in range(1, 256)])
    saturation = ((most - least) * table[most] + (1 << 11)) >> 12
    mask = scipy.ndimage.median_filter(saturation.astype(np.uint8), 7, mode="nearest") > 7
    mask = skimage.morphology.binary_closing(mask, np.ones((6, 6)))
    mask = skimage.morphology.remove_small_objects(mask, min_size=round(200**2 / area))
    mask = skimage.morphology.remove_small_holes(mask, area_threshold=round(190**2 / area))
    tissue = outlined(mask, (w / thumb.size[0], h / thumb.size[1]))
    rows = ["minx,miny,width,height,prob_Other,prob_Tumor"]
    for x in range(half_side, w, side):
        for y in range(half_side, h, side):
            if tissue.contains(shapely.Point(x, y)):
                at = (x - half_side, y - half_side)
                patch = slide.read_region(at, 0, (side, side)).convert("RGB").resize((SEEN, SEEN), Image.Resampling.BILINEAR)
                score = 1 / (1 + np.exp(-20 * (np.asarray(patch).mean() / 255 - 0.5)))
                rows.append(f"{at[0]},{at[1]},{side},{side},{1 - score:.6f},{score:.6f}")
    (WSINFER / "patches.csv").write_text("\n".join(rows) + "\n")
    print(len(rows) - 1, "patches of", side, "pixels;", path.stat().st_size, "bytes")


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
    wsinfer()


if __name__ == "__main__":
    main()
