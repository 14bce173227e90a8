#!/usr/bin/env python3
"""Makes small slides of every kind that is read, and what other programs read in them.

Writes into crates/imaging/tests/golden/slides: files by tifffile and imagecodecs, `golden.json` with levels and
pixel sizes as OpenSlide finds them (where it opens the file), and PNGs with the pixels that OpenSlide, or
tifffile where OpenSlide does not open the kind, reads. Needs the environment of scripts/oracles.sh:

    .venv/bin/python scripts/golden_slides.py

JPEG 2000 with halved chroma, as Aperio's scanners write it, needs `opj_compress` (Debian: libopenjp2-tools) on the PATH;
without it that file stays as it is.
"""

import json
import pathlib
import shutil
import subprocess
import tempfile

import imagecodecs
import numpy as np
import openslide
import tifffile
from PIL import Image

OUT = pathlib.Path("crates/imaging/tests/golden/slides")
W, H, TILE = 300, 210, 128
APERIO = "Aperio Image Library v11.2.1 \r\n{w}x{h} [0,0 {w}x{h}] ({t}x{t}) {what}|AppMag = 20|MPP = 0.4990|Filename = x"


def picture(w=W, h=H):
    """Pink tissue with violet nuclei on pale glass; smooth, with some texture."""
    y, x = np.mgrid[0:h, 0:w].astype(float)
    glass = np.array([243.0, 241.0, 244.0])
    pink = np.array([222.0, 150.0, 190.0])
    violet = np.array([112.0, 62.0, 140.0])
    tissue = 1 / (1 + np.exp(((x - w * 0.55) ** 2 / (w * 0.4) ** 2 + (y - h * 0.5) ** 2 / (h * 0.42) ** 2 - 1) * 12))
    nuclei = np.clip(np.sin(x / 5.3) * np.sin(y / 4.7) * 2 - 1, 0, 1) * tissue
    rgb = glass + tissue[..., None] * (pink - glass) + nuclei[..., None] * (violet - pink)
    rgb += 4 * np.sin(x * 0.9 + y * 0.37)[..., None]
    return np.clip(np.round(rgb), 0, 255).astype(np.uint8)


def half(a):
    h, w = a.shape[0] // 2 * 2, a.shape[1] // 2 * 2
    a = a[:h, :w].astype(np.uint16)
    return ((a[0::2, 0::2] + a[1::2, 0::2] + a[0::2, 1::2] + a[1::2, 1::2] + 2) // 4).astype(np.uint8)


def pyramid(path, image, levels=3, **kw):
    """A generic pyramid: smaller copies follow, marked as such; pixels of half a micron."""
    first = {k: kw.pop(k) for k in ("bigtiff", "byteorder") if k in kw}
    with tifffile.TiffWriter(path, **first) as t:
        for level in range(levels):
            size = 20_000 / 2**level
            t.write(image, tile=(TILE, TILE), subfiletype=int(level > 0), resolution=(size, size),
                    resolutionunit="CENTIMETER", metadata=None, **kw)
            image = half(image)


def jpeg2000(image, **kw):
    """Encoded tiles of an image, padded to whole tiles."""
    padded = np.pad(image, [(0, -image.shape[0] % TILE), (0, -image.shape[1] % TILE), (0, 0)], mode="edge")
    for y in range(0, padded.shape[0], TILE):
        for x in range(0, padded.shape[1], TILE):
            tile = np.ascontiguousarray(padded[y:y + TILE, x:x + TILE])
            yield imagecodecs.jpeg2k_encode(tile, codecformat="j2k", **kw)


def halved(image):
    """Encoded tiles of luma and chroma with half the chroma across."""
    padded = np.pad(ycbcr(image), [(0, -image.shape[0] % TILE), (0, -image.shape[1] % TILE), (0, 0)], mode="edge")
    with tempfile.TemporaryDirectory() as folder:
        raw, out = pathlib.Path(folder, "t.raw"), pathlib.Path(folder, "t.j2k")
        for y in range(0, padded.shape[0], TILE):
            for x in range(0, padded.shape[1], TILE):
                t = padded[y:y + TILE, x:x + TILE].astype(np.uint16)
                chroma = [(t[:, 0::2, c] + t[:, 1::2, c] + 1) // 2 for c in (1, 2)]
                raw.write_bytes(b"".join(a.astype(np.uint8).tobytes() for a in (t[..., 0], *chroma)))
                subprocess.run(["opj_compress", "-i", raw, "-o", out, "-F", f"{TILE},{TILE},3,8,u@1x1:2x1:2x1", "-mct", "0", "-n", "5"],
                               check=True, stdout=subprocess.DEVNULL)
                yield out.read_bytes()


def ycbcr(image):
    return np.asarray(Image.fromarray(image).convert("YCbCr"))


def svs(path, image, compression, tiles, photometric):
    text = APERIO.format(w=image.shape[1], h=image.shape[0], t=TILE, what=f"J2K/{compression}")
    with tifffile.TiffWriter(path) as t:
        t.write(tiles, shape=image.shape, dtype=np.uint8, tile=(TILE, TILE), compression=compression,
                photometric=photometric, description=text, metadata=None)
        # As scanners do: a thumbnail in strips second, a label and a picture of the glass last.
        small = half(half(image))
        t.write(small, photometric="rgb", rowsperstrip=16, metadata=None, description="Aperio Image Library v11.2.1 \r\nthumbnail")
        t.write(np.full((40, 60, 3), 9, np.uint8), photometric="rgb", subfiletype=1, metadata=None,
                description="Aperio Image Library v11.2.1 \r\nlabel 60x40")
        t.write(np.full((30, 90, 3), 7, np.uint8), photometric="rgb", subfiletype=9, metadata=None,
                description="Aperio Image Library v11.2.1 \r\nmacro 90x30")


def main():
    OUT.mkdir(parents=True, exist_ok=True)
    image = picture()
    grey = image[..., 1]
    pyramid(OUT / "jpeg420.tif", image, compression="jpeg", compressionargs={"level": 85}, photometric="rgb",
            subsampling=(2, 2))
    pyramid(OUT / "jpegrgb.tif", image, compression="jpeg", compressionargs={"level": 85, "outcolorspace": "rgb"},
            photometric="rgb", levels=1)
    pyramid(OUT / "bigdeflate.tif", image, bigtiff=True, compression="deflate", predictor=True, photometric="rgb")
    pyramid(OUT / "lzwbe.tif", image, byteorder=">", compression="lzw", photometric="rgb", levels=2)
    pyramid(OUT / "packbits.tif", image, compression="packbits", photometric="rgb", levels=1)
    pyramid(OUT / "grey.tif", grey, compression="deflate", photometric="minisblack", levels=2)
    pyramid(OUT / "white.tif", 255 - grey, compression="lzw", photometric="miniswhite", levels=1)
    deep = image.astype(np.uint16) * 257
    pyramid(OUT / "deep.tif", deep, compression="deflate", predictor=True, photometric="rgb", levels=1)
    pyramid(OUT / "deepbe.tif", deep, byteorder=">", compression="lzw", predictor=True, photometric="rgb", levels=1)
    alpha = np.dstack([image, np.full((H, W), 200, np.uint8)])
    pyramid(OUT / "alpha.tif", alpha, compression="deflate", photometric="rgb", extrasamples=["unassalpha"], levels=1)
    planes = np.moveaxis(image, -1, 0)
    tifffile.imwrite(OUT / "planar.tif", planes, tile=(TILE, TILE), photometric="rgb", planarconfig="separate",
                     compression="deflate", metadata=None)
    indexed = Image.fromarray(image).quantize(64)
    table = np.array(indexed.getpalette()[: 64 * 3], np.uint16).reshape(-1, 3)
    colours = np.zeros((3, 256), np.uint16)
    colours[:, : len(table)] = table.T * 257
    tifffile.imwrite(OUT / "palette.tif", np.asarray(indexed), tile=(TILE, TILE), photometric="palette",
                     colormap=colours, compression="lzw", metadata=None)
    tifffile.imwrite(OUT / "strips.tif", image, rowsperstrip=50, photometric="rgb", compression="deflate", metadata=None)
    with tifffile.TiffWriter(OUT / "ome.tif", ome=True) as t:
        options = dict(tile=(TILE, TILE), compression="deflate", photometric="rgb")
        t.write(image, subifds=2, metadata={"axes": "YXS", "PhysicalSizeX": 0.5, "PhysicalSizeXUnit": "µm",
                                            "PhysicalSizeY": 0.5, "PhysicalSizeYUnit": "µm"}, **options)
        t.write(half(image), subfiletype=1, **options)
        t.write(half(half(image)), subfiletype=1, **options)
    svs(OUT / "j2k33005.svs", image, 33005, jpeg2000(image, level=40, mct=True), "rgb")
    svs(OUT / "j2k33003.svs", image, 33003, jpeg2000(ycbcr(image), level=40, mct=False), "rgb")
    if shutil.which("opj_compress"):
        svs(OUT / "j2k33003half.svs", image, 33003, halved(image), "rgb")
    golden = {}
    for path in sorted([*OUT.glob("*.tif"), *OUT.glob("*.svs")]):
        name = path.name
        try:
            # OpenSlide takes OME's levels for none, and multiplies colours with transparency.
            if name in ("ome.tif", "alpha.tif"):
                raise ValueError("read by tifffile")
            slide = openslide.OpenSlide(path)
            levels = [list(d) for d in slide.level_dimensions]
            read = [np.asarray(slide.read_region((0, 0), i, d).convert("RGB")) for i, d in enumerate(slide.level_dimensions)]
            mpp = slide.properties.get("openslide.mpp-x")
            oracle = "openslide"
        except Exception as e:  # kinds that OpenSlide does not open
            print(f"{name}: OpenSlide: {e}")
            with tifffile.TiffFile(path) as t:
                read = [level.asarray() for level in t.series[0].levels]
                if len(read) == 1:
                    read = [page.asarray() for page in t.pages]
                tag = t.pages[0].tags.get("XResolution")
                unit = t.pages[0].tags.get("ResolutionUnit")
                centimetres = tag and unit and unit.value == 3
                mpp = 0.5 if name == "ome.tif" else 10_000 * tag.value[1] / tag.value[0] if centimetres else None
            sources = {"planar.tif": image, "palette.tif": np.asarray(indexed.convert("RGB"))}
            read = [sources.get(name, read[0])] + read[1:]
            read = [np.round(a / 257).astype(np.uint8) if a.dtype == np.uint16 else a for a in read]
            read = [a if a.ndim == 3 else np.dstack([a] * 3) for a in read]
            if name == "white.tif":
                read = [255 - a for a in read]
            levels = [[a.shape[1], a.shape[0]] for a in read]
            oracle = "tifffile"
        golden[name] = {"levels": levels, "mpp": float(mpp) if mpp else None, "oracle": oracle, "pictures": []}
        for i, a in enumerate(read):
            a = a[..., :3]
            same = np.array_equal(a, image) if i == 0 else False
            png = "source.png" if same else f"{path.stem}_{i}.png"
            if i == 0 or i == len(read) - 1:
                Image.fromarray(a).save(OUT / png)
                golden[name]["pictures"].append([i, png])
    (OUT / "golden.json").write_text(json.dumps(golden, indent=1) + "\n")


if __name__ == "__main__":
    main()
