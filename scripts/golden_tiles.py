"""Makes crates/eval/tests/golden/tiles: what scipy and scikit-image say about small label maps.

    .venv/bin/python scripts/golden_tiles.py crates/eval/tests/golden/tiles

scripts/oracles.sh makes the environment. The same versions give the same files.
"""
import json
import pathlib
import sys

import numpy as np
from PIL import Image
from scipy import ndimage
from skimage.measure import label

out = pathlib.Path(sys.argv[1])
rng = np.random.default_rng(11)


def blobs(seed, shape, level):
    r = np.random.default_rng(seed)
    return ndimage.gaussian_filter(r.normal(size=shape), 3) > level


def outline(m):
    return m & ~ndimage.binary_erosion(m, border_value=0)


def hd95(a, b):
    if not a.any() and not b.any():
        return 0.0
    if not a.any() or not b.any():
        return None
    sa, sb = outline(a), outline(b)
    da, db = ndimage.distance_transform_edt(~sa), ndimage.distance_transform_edt(~sb)
    return float(max(np.percentile(db[sa], 95), np.percentile(da[sb], 95)))


def measures(p, t):
    lp, lt = label(p, connectivity=2), label(t, connectivity=2)
    found = 0
    for i in range(1, lp.max() + 1):
        for j in range(1, lt.max() + 1):
            x, y = lp == i, lt == j
            found += (x & y).sum() / (x | y).sum() > 0.5
    both, either = (p & t).sum(), (p | t).sum()
    n = p.sum() + t.sum()
    objects = int(lt.max() + lp.max())
    return {
        "dice": float(2 * both / n) if n else 1.0,
        "iou": float(both / either) if either else 1.0,
        "hd95_px": hd95(p, t),
        "objects": [int(lt.max()), int(lp.max()), int(found)],
        "object_f1": 2 * int(found) / objects if objects else 1.0,
    }


golden = {}
for kind in ("one", "several"):
    (out / kind / "p").mkdir(parents=True, exist_ok=True)
    (out / kind / "t").mkdir(parents=True, exist_ok=True)
    for i in range(4):
        shape = (50 + 7 * i, 61)
        t = blobs(i, shape, 0.06)
        # A shifted and eroded copy with something of its own.
        p = np.roll(t, (1, 2), (0, 1)) & blobs(i + 100, shape, -0.15) | blobs(i + 50, shape, 0.25)
        if i == 3:
            p[:] = False
        if kind == "one":
            truth, found = t.astype(np.uint8) * 255, p.astype(np.uint8)
            golden[f"one tile{i} 255"] = measures(p, t)
        else:
            second = blobs(i + 7, shape, 0.08)
            truth = np.where(second, 2, t).astype(np.uint8)
            found = np.where(np.roll(second, 1, 1), 2, p).astype(np.uint8)
            for c in (1, 2):
                golden[f"several tile{i} {c}"] = measures(found == c, truth == c)
        Image.fromarray(truth).save(out / kind / "t" / f"tile{i}_mask.png")
        Image.fromarray(found).save(out / kind / "p" / f"tile{i}_labels.png")
json.dump(golden, open(out / "tiles.json", "w"), indent=1)
