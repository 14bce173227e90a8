"""Odd photos for `scripts/attack.py`: valid or nearly so, each read right or refused. What is right is what Pillow and tifffile read."""

import io
import itertools
import struct
import zlib

import numpy as np
import tifffile
from PIL import Image, ImageCms, ImageOps

from attack_files import info, model, node, tensor
from attack_groups import Attempt

RECIPE = """version = 2
[model]
name = "m"
task = "segmentation"
[[input]]
name = "photo"
kind = "image"
[[network]]
activation = "none"
""" + "".join(f'[[label]]\nname = "{n}"\n' for n in ("dark", "red", "green", "blue"))
DARK = 100
CELL = 16


def chooser(path):
    """A network that labels a pixel by the largest of a constant, red, green and blue."""
    weights = np.zeros((4, 3), np.float32)
    weights[1:] = np.eye(3)
    path.write_bytes(model(
        [node("Conv", ["x", "w", "b"], ["scores"])], [info("x", ["n", 3, "h", "w"])], [info("scores", ["n", 4, "h", "w"])],
        [tensor("w", [4, 3, 1, 1], weights.tobytes()), tensor("b", [4], struct.pack("<4f", DARK, 0, 0, 0))], [("ampoule.recipe", RECIPE)]))


def colours(shape=(4, 6), seed=0, levels=None):
    """Cells of colours, in each of which one channel, or none, stands out."""
    rng = np.random.default_rng(seed)
    cells = rng.integers(0, 70, (*shape, 3))
    which = rng.integers(0, 4, shape)
    for at in np.ndindex(shape):
        if which[at]:
            cells[at][which[at] - 1] = rng.integers(160, 256)
    return np.kron(cells, np.ones((CELL, CELL, 1), int)).astype(np.uint8)


def chosen(rgb):
    rgb = np.asarray(rgb).astype(float)
    return np.argmax(np.concatenate([np.full(rgb.shape[:2] + (1,), DARK), rgb], -1), -1)


def inner(shape):
    """Pixels away from the edges of cells, where compression does not blend colours."""
    keep = np.zeros(shape, bool)
    rows, columns = (np.arange(n) % CELL for n in shape)
    keep[np.ix_((rows > 3) & (rows < CELL - 4), (columns > 3) & (columns < CELL - 4))] = True
    return keep


class Folder:
    def __init__(self, d, name):
        self.place, self.out, self.each = d / name, d / f"out {name}", {}
        self.place.mkdir(parents=True, exist_ok=True)

    def add(self, name, data, may_fail=False, must_fail=False, wanted=None, lossy=False):
        """A file with its bytes; `wanted` holds colours where Pillow is no judge."""
        path = self.place / name
        path.write_bytes(data)
        if wanted is None and not must_fail:
            try:
                wanted = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB"))
            except Exception:
                wanted, may_fail = None, True

        def right():
            found = self.out / f"{path.stem}_mask.png"
            if must_fail or not found.is_file():
                table = self.out / "failures.csv"
                lines = [x for x in (table.read_text().splitlines() if table.is_file() else []) if name in x]
                if found.is_file():
                    return ["it was not refused"]
                return [] if lines and (must_fail or may_fail) else [f"it was refused: {lines}"]
            labels = np.asarray(Image.open(found))
            if wanted is None:
                return ["it was read, which Pillow refuses"]
            if labels.shape != wanted.shape[:2]:
                return [f"the mask is {labels.shape}, the photo {wanted.shape[:2]}"]
            off = labels != chosen(wanted)
            if lossy:
                off &= inner(off.shape)
            return [f"{off.sum()} of {off.size} pixels are wrong"] if off.any() else []

        self.each[name] = right

    def attempt(self):
        return Attempt(self.place.name, ["run", "m.onnx", self.place.name, "-o", self.out.name], codes=(0, 1), each=self.each, seconds=300, most=60_000)


def encoded(image, kind, **more):
    out = io.BytesIO()
    image.save(out, kind, **more)
    return out.getvalue()


def odd_photos(d):
    """`run` on odd photos, against Pillow."""
    chooser(d / "m.onnx")
    f = Folder(d, "pillow")
    rgb = Image.fromarray(colours())
    for turn in range(1, 9):
        exif = Image.Exif()
        exif[274] = turn
        for kind, ending in (("JPEG", "jpg"), ("PNG", "png"), ("WEBP", "webp"), ("TIFF", "tif")):
            more = dict(lossless=True) if kind == "WEBP" else dict(quality=95, subsampling=0) if kind == "JPEG" else {}
            f.add(f"{ending}_turned_{turn}.{ending}", encoded(rgb, kind, exif=exif, **more), lossy=kind == "JPEG")
    for turn in (0, 9, 65535):
        exif = Image.Exif()
        exif[274] = turn
        f.add(f"jpg_turned_{turn}.jpg", encoded(rgb, "JPEG", exif=exif, quality=95), lossy=True)
    for quality, sub, progressive in itertools.product((30, 95, 100), (0, 1, 2), (False, True)):
        f.add(f"jpg_{quality}_{sub}_{int(progressive)}.jpg", encoded(rgb, "JPEG", quality=quality, subsampling=sub, progressive=progressive), lossy=True)
    f.add("jpg_restart.jpg", encoded(rgb, "JPEG", quality=95, restart_marker_blocks=3), lossy=True)
    f.add("jpg_grey.jpg", encoded(rgb.convert("L"), "JPEG", quality=95), lossy=True)
    cmyk = encoded(rgb.convert("CMYK"), "JPEG", quality=95)
    f.add("jpg_cmyk.jpg", cmyk, lossy=True, may_fail=True)
    at = cmyk.find(b"Adobe")
    f.add("jpg_ycck.jpg", cmyk[:at + 11] + b"\2" + cmyk[at + 12:], lossy=True, may_fail=True)
    keep = encoded(rgb, "JPEG", quality=95, keep_rgb=True)
    f.add("jpg_rgb.jpg", keep, lossy=True, may_fail=True)
    f.add("jpg_twice.jpg", encoded(rgb, "JPEG", quality=95) + encoded(Image.fromarray(colours(seed=5)), "JPEG"), lossy=True)
    for size in ((1, 1), (7, 3), (17, 33), (1, 50)):
        f.add(f"jpg_{size[0]}x{size[1]}.jpg", encoded(rgb.resize(size, 0), "JPEG", quality=100, subsampling=2), lossy=True)
    # PNG of every kind.
    grey = rgb.convert("L")
    palette = rgb.quantize(16)
    for bits in (1, 2, 4, 8):
        f.add(f"png_palette_{bits}.png", encoded(rgb.quantize(2**min(bits, 4)), "PNG", bits=bits))
    f.add("png_palette_clear.png", encoded(palette, "PNG", transparency=3))
    f.add("png_palette_alphas.png", encoded(palette, "PNG", transparency=bytes(range(0, 160, 10))))
    f.add("png_grey_clear.png", encoded(grey, "PNG", transparency=10))
    f.add("png_rgb_clear.png", encoded(rgb, "PNG", transparency=(1, 2, 3)))
    f.add("png_one.png", encoded(grey.point(lambda v: 255 * (v > 99), "1"), "PNG"))
    for mode in ("L", "LA", "RGB", "RGBA"):
        f.add(f"png_{mode}.png", encoded(rgb.convert(mode), "PNG"))
    alpha = rgb.copy()
    alpha.putalpha(Image.fromarray((np.arange(rgb.size[0] * rgb.size[1]) % 256).reshape(rgb.size[::-1]).astype(np.uint8)))
    for kind, ending, more in (("PNG", "png", {}), ("WEBP", "webp", dict(lossless=True, exact=True)), ("TIFF", "tif", {})):
        f.add(f"alpha_{ending}.{ending}", encoded(alpha, kind, **more), wanted=np.asarray(rgb), may_fail=True)
    wide = colours().astype(np.uint16) * 257
    f.add("png_16.png", raw_png(wide, 16, 2), wanted=colours())
    f.add("png_16_alpha.png", raw_png(np.concatenate([wide, wide[..., :1]], -1), 16, 6), wanted=colours())
    f.add("png_16_grey.png", raw_png(np.asarray(grey)[..., None].astype(np.uint16) * 257, 16, 0), wanted=np.repeat(np.asarray(grey)[..., None], 3, -1))
    f.add("png_adam7.png", adam7(colours()), wanted=colours())
    frames = [Image.fromarray(colours(seed=n)) for n in range(3)]
    f.add("apng.png", encoded(frames[0], "PNG", save_all=True, append_images=frames[1:]))
    f.add("apng_hidden.png", encoded(frames[0], "PNG", save_all=True, append_images=frames[1:], default_image=True))
    f.add("moving_gif.gif", encoded(frames[0].quantize(200), "GIF", save_all=True, append_images=[x.quantize(200) for x in frames[1:]]))
    f.add("gif_interlaced.gif", encoded(rgb.quantize(100), "GIF", interlace=1))
    f.add("gif_clear.gif", encoded(rgb.quantize(100), "GIF", transparency=2))
    f.add("moving_webp.webp", encoded(frames[0], "WEBP", save_all=True, append_images=frames[1:], lossless=True), may_fail=True)
    f.add("pages.tif", encoded(frames[0], "TIFF", save_all=True, append_images=frames[1:]))
    # Profiles: values are those of the file.
    for name in ("sRGB", "LAB"):
        profile = ImageCms.ImageCmsProfile(ImageCms.createProfile(name)).tobytes()
        for kind, ending, more in (("JPEG", "jpg", dict(quality=95)), ("PNG", "png", {}), ("TIFF", "tif", {}), ("WEBP", "webp", dict(lossless=True))):
            f.add(f"profile_{name}_{ending}.{ending}", encoded(rgb, kind, icc_profile=profile, **more), lossy=kind == "JPEG", may_fail=name == "LAB")
    # BMP.
    for mode in ("1", "L", "P", "RGB", "RGBA"):
        f.add(f"bmp_{mode}.bmp", encoded(rgb.quantize(50) if mode == "P" else rgb.convert(mode), "BMP"))
    plain = bytearray(encoded(rgb, "BMP"))
    h = struct.unpack_from("<i", plain, 22)[0]
    offset = struct.unpack_from("<I", plain, 10)[0]
    row = (len(plain) - offset) // h
    rows = [bytes(plain[offset + i * row:offset + (i + 1) * row]) for i in range(h)]
    struct.pack_into("<i", plain, 22, -h)
    f.add("bmp_down.bmp", bytes(plain[:offset]) + b"".join(reversed(rows)))
    for mode in ("L", "LA", "RGB", "RGBA", "CMYK", "YCbCr", "LAB", "P", "1", "I;16", "I", "F"):
        image = {"P": rgb.quantize(50), "I;16": Image.fromarray(np.asarray(grey).astype(np.uint16)), "I": Image.fromarray(np.asarray(grey).astype(np.int32)),
                 "F": Image.fromarray(np.asarray(grey).astype(np.float32))}.get(mode) or rgb.convert(mode)
        for squeeze in (None, "tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg", "group3", "group4", "zstd", "lzma", "webp"):
            try:
                data = encoded(image, "TIFF", compression=squeeze)
            except Exception:
                continue
            name = f"tif_{mode}_{squeeze}.tif".replace(";", "")
            known = np.repeat(np.asarray(grey)[..., None], 3, -1) if mode in ("I;16", "I", "F") else None
            f.add(name, data, wanted=known, lossy=squeeze in ("jpeg", "webp") or mode in ("YCbCr", "LAB"), may_fail=True)
    yield f.attempt()
    f = Folder(d, "tifffile")
    a = colours()
    for order, big, tile, planes, squeeze, predictor in itertools.product("<>", (False, True), (None, (16, 16), (32, 48)), ("contig", "separate"), (None, "zlib", "lzw", "packbits"), (False, True)):
        if predictor and squeeze in (None, "packbits"):
            continue
        data = io.BytesIO()
        image = a if planes == "contig" else np.moveaxis(a, -1, 0)
        name = f"t_{'le' if order == '<' else 'be'}_{int(big)}_{tile and tile[1] or 0}_{planes}_{squeeze}_{int(predictor)}.tif"
        try:
            with tifffile.TiffWriter(data, bigtiff=big, byteorder=order) as out:
                out.write(image, photometric="rgb", planarconfig=planes, tile=tile, compression=squeeze, predictor=predictor, rowsperstrip=None if tile else 5)
        except Exception:
            continue
        f.add(name, data.getvalue(), wanted=a)
    for name, values, more in (("u16", a.astype(np.uint16) * 257, {}), ("u16p", a.astype(np.uint16) * 257, dict(compression="zlib", predictor=True)), ("u16lzw", a.astype(np.uint16) * 257, dict(compression="lzw", predictor=True)),
                               ("f32", a.astype(np.float32) / 255, {}), ("f32p", a.astype(np.float32) / 255, dict(compression="zlib", predictor=3)), ("f16", (a / 255).astype(np.float16), {}), ("f64", a / 255, {}),
                               ("u32", a.astype(np.uint32), {}), ("i8", (a // 2).astype(np.int8), {}), ("i16", a.astype(np.int16), {})):
        for order in "<>":
            data = io.BytesIO()
            try:
                tifffile.imwrite(data, values, photometric="rgb", byteorder=order, **more)
            except Exception:
                continue
            f.add(f"k_{name}_{'le' if order == '<' else 'be'}.tif", data.getvalue(), wanted=a // 2 if name == "i8" else a, may_fail=True)
    yield f.attempt()


def raw_png(values, depth, colour):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    h, w = values.shape[:2]
    rows = b"".join(b"\0" + values[y].astype(">u2" if depth == 16 else "u1").tobytes() for y in range(h))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", w, h, depth, colour, 0, 0, 0)) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def adam7(values):
    """An interlaced PNG."""
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    h, w = values.shape[:2]
    rows = b""
    for y0, x0, dy, dx in ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)):
        part = values[y0::dy, x0::dx]
        rows += b"".join(b"\0" + part[y].tobytes() for y in range(part.shape[0])) if part.size else b""
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", w, h, 8, 2, 0, 0, 1)) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


ALL = (odd_photos,)
