"""Makes crates/imaging/tests/golden/photos: what Pillow says about small photos.

    .venv/bin/python scripts/golden_photos.py crates/imaging/tests/golden/photos

scripts/oracles.sh makes the environment. The same versions give the same files.
"""
import pathlib
import sys

import numpy as np
from PIL import Image

out = pathlib.Path(sys.argv[1])
out.mkdir(parents=True, exist_ok=True)
rng = np.random.default_rng(3)

# Smooth and rough parts, so that rounding and clipping of the filters show.
y, x = np.mgrid[0:45, 0:61]
wave = 127 + 120 * np.sin(x / 3.0)[..., None] * np.cos(y / 4.0)[..., None] * np.array([1.0, 0.7, -0.9])
noise = rng.integers(0, 256, wave.shape)
pixels = np.where((x > 30)[..., None], noise, wave).clip(0, 255).astype(np.uint8)
source = Image.fromarray(pixels)
source.save(out / "source.png")

FILTERS = {"nearest": Image.NEAREST, "bilinear": Image.BILINEAR, "bicubic": Image.BICUBIC, "lanczos": Image.LANCZOS}
for name, f in FILTERS.items():
    for w, h in [(20, 15), (61, 20), (128, 128), (7, 90)]:
        source.resize((w, h), f).save(out / f"resized_{name}_{w}x{h}.png")

# EXIF orientations: lossless WebP keeps the pixels and the tag.
for tag in range(1, 9):
    exif = Image.Exif()
    exif[0x0112] = tag
    source.save(out / f"turned_{tag}.webp", lossless=True, exif=exif)
    Image.fromarray(pixels).save(out / f"turned_{tag}.jpg", quality=95, subsampling=0, exif=exif)
for tag in range(1, 9):
    from PIL import ImageOps

    with Image.open(out / f"turned_{tag}.webp") as im:
        ImageOps.exif_transpose(im).convert("RGB").save(out / f"turned_{tag}_want.png")

# Kinds of pixels. Each file has a .want.png beside it, or is to be refused.
grey = source.convert("L")
kinds = {
    "grey.png": grey,
    "grey_alpha.png": grey.convert("LA"),
    "alpha.png": Image.merge("RGBA", (*source.split(), grey)),
    "palette.png": source.quantize(16),
    "bits.png": grey.point(lambda v: 255 * (v > 127)).convert("1"),
    "plain.tif": source,
    "packed.tif": source,
    "lossless.webp": source,
}
for name, im in kinds.items():
    extra = {"compression": "tiff_lzw"} if name == "packed.tif" else {"lossless": True} if name.endswith("webp") else {}
    im.save(out / name, **extra)
    im.convert("RGB").save(out / (name + ".want.png"))
Image.fromarray((np.asarray(grey).astype(np.uint16) * 257)).save(out / "sixteen.png")
grey.convert("RGB").save(out / "sixteen.png.want.png")
source.convert("CMYK").save(out / "cmyk.jpg")
source.convert("CMYK").save(out / "cmyk.tif")
# Two components, which decoders take for three.
grey.convert("LA").save(out / "grey_alpha_jpeg.tif", compression="jpeg")
