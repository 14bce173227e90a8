#!/usr/bin/env python3
"""Makes a slide of 100,000 by 100,000 pixels (BigTIFF, JPEG tiles, three levels; tiles of bare glass are not stored).

    .venv/bin/python scripts/big_slide.py target/slides/big.tif [--side N] [--diameter MM]

Two round pieces of tissue-like texture lie on it, by default 8 mm across, at half a micron a pixel. The same arguments
give the same file. Needs the environment of scripts/oracles.sh.
"""

import argparse

import imagecodecs
import numpy as np
import tifffile

from golden_slides import picture

TILE = 512


def main():
    args = argparse.ArgumentParser()
    args.add_argument("path")
    args.add_argument("--side", type=int, default=100_000)
    args.add_argument("--diameter", type=float, default=8.0)
    a = args.parse_args()
    texture = picture(TILE * 3, TILE * 3)[TILE:2 * TILE, TILE:2 * TILE]
    rng = np.random.default_rng(5)
    # A few tiles that differ; each is used many times.
    kinds = []
    for i in range(16):
        tile = np.roll(texture, (37 * i, 91 * i), (0, 1)).astype(int) + rng.integers(-12, 13, texture.shape)
        kinds.append(np.clip(tile, 0, 255).astype(np.uint8))
    encoded = [imagecodecs.jpeg8_encode(k, level=80, subsampling="420") for k in kinds]
    radius = a.diameter * 1000 / 0.5 / 2
    centres = [(0.3 * a.side, 0.35 * a.side), (0.65 * a.side, 0.6 * a.side)]

    def tiles(down):
        n = -(-(a.side // down) // TILE)
        for ty in range(n):
            for tx in range(n):
                x, y = (tx + 0.5) * TILE * down, (ty + 0.5) * TILE * down
                inside = any((x - cx) ** 2 + (y - cy) ** 2 < radius**2 for cx, cy in centres)
                yield encoded[(7 * tx + 3 * ty) % len(encoded)] if inside else b""

    with tifffile.TiffWriter(a.path, bigtiff=True) as t:
        for level, down in enumerate((1, 4, 16)):
            side = a.side // down
            t.write(tiles(down), shape=(side, side, 3), dtype=np.uint8, tile=(TILE, TILE), compression="jpeg",
                    photometric="ycbcr", subsampling=(2, 2), subfiletype=int(level > 0), metadata=None,
                    resolution=(20_000 / down, 20_000 / down), resolutionunit="CENTIMETER")


if __name__ == "__main__":
    main()
