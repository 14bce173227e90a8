"""Small files of every kind that is read, with what Pillow and nibabel make of them and of their beginnings.

    python scripts/golden_formats.py            # numpy, pillow, tifffile, imagecodecs, nibabel

Writes crates/imaging/tests/golden/formats: the files, NAME.want.png for pictures, and golden.json: by picture the cuts
(bytes kept) that Pillow reads all the same; by volume its affine and values.
"""

import io
import json
from pathlib import Path

import nibabel as nib
import numpy as np
import tifffile
from PIL import Image, ImageFile

OUT = Path(__file__).parent.parent / "crates/imaging/tests/golden/formats"
CUTS = sorted({*range(1, 100, 3), 5, 95, 98, 99})


def picture(width=57, height=43, seed=5):
    """Smooth colours with an edge and some noise, of a size that is no multiple of a block."""
    y, x = np.mgrid[:height, :width]
    base = np.stack([4 * x + y, 255 - 3 * x, 128 + 60 * np.sin(x / 5) * np.cos(y / 4)], -1)
    base[10:20, 15:40] = [200, 30, 60]
    noise = np.random.default_rng(seed).normal(0, 4, base.shape)
    return np.clip(base + noise, 0, 255).astype(np.uint8)


def pillow(data):
    """RGB as Pillow reads it, or None where it refuses."""
    try:
        return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    except Exception:
        return None


def photos():
    rgb = picture()
    image, grey = Image.fromarray(rgb), Image.fromarray(rgb).convert("L")

    def save(name, source=image, **options):
        source.save(OUT / name, **options)

    save("baseline.jpg", quality=85)
    save("full.jpg", quality=90, subsampling=0)
    save("grey.jpg", grey, quality=80)
    save("restart.jpg", quality=85, restart_marker_blocks=3)
    save("progressive.jpg", quality=85, progressive=True)
    save("progressive_full.jpg", quality=90, subsampling=0, progressive=True)
    save("progressive_grey.jpg", grey, quality=80, progressive=True)
    save("plain.png")
    save("grey.png", grey)
    save("palette.png", image.quantize(32))
    save("lossless.webp", lossless=True)
    save("lossy.webp", quality=70)
    save("plain.bmp")
    save("palette.bmp", image.quantize(64))
    save("grey.bmp", grey)
    save("plain.gif", image.quantize(64))
    frames = [Image.fromarray(picture(seed=s)).quantize(32) for s in (1, 2)]
    frames[0].save(OUT / "animated.gif", save_all=True, append_images=frames[1:])
    save("plain.tif")
    save("lzw.tif", compression="tiff_lzw")
    save("deflate.tif", compression="tiff_adobe_deflate")
    save("packbits.tif", compression="packbits")
    save("jpeg.tif", compression="jpeg")
    save("bilevel.tif", grey.point(lambda v: 255 * (v > 120)).convert("1"))
    save("palette.tif", image.quantize(32))


def meanings():
    """TIFF files that hold one picture in other types of samples."""
    rgb = picture()
    grey = rgb[..., 1]
    kinds = {
        "u8": rgb,
        "u32": rgb.astype(np.uint32),
        "i16": rgb.astype(np.int16),
        "i32": rgb.astype(np.int32),
        "f16": rgb.astype(np.float16),
        "f32": rgb.astype(np.float32),
        "f64": rgb.astype(np.float64),
        "unit": (rgb / 255).astype(np.float32),
        "u16": rgb.astype(np.uint16) * 257,
        "twelve": np.round(rgb * (4095 / 255)).astype(np.uint16),
        "low": rgb.astype(np.uint16),
    }
    options = {"photometric": "rgb"}
    for name, values in kinds.items():
        tifffile.imwrite(OUT / f"meaning_{name}.tif", values, **options)
    tifffile.imwrite(OUT / "meaning_big_endian.tif", kinds["f32"], byteorder=">", **options)
    tifffile.imwrite(OUT / "meaning_predicted.tif", kinds["f32"], compression="zlib", predictor=3, **options)
    tifffile.imwrite(OUT / "meaning_differences.tif", kinds["u16"], compression="lzw", predictor=2, **options)
    planes = np.moveaxis(rgb, -1, 0)
    tifffile.imwrite(OUT / "meaning_planes.tif", planes, planarconfig="separate", **options)
    tifffile.imwrite(OUT / "meaning_tiles.tif", kinds["f32"], tile=(16, 32), **options)
    tifffile.imwrite(OUT / "meaning_pages.tif", np.stack([rgb, rgb[::-1]]), **options)
    tifffile.imwrite(OUT / "grey_white.tif", 255 - grey, photometric="miniswhite")
    tifffile.imwrite(OUT / "grey_white16.tif", (255 - grey.astype(np.uint16)) * 257, photometric="miniswhite")
    with tifffile.TiffWriter(OUT / "meaning_label_first.tif") as t:
        t.write(rgb[:9, :9], description="Label", subfiletype=1, **options)
        t.write(rgb, **options)
    Image.fromarray(rgb).save(OUT / "meaning_want.png")
    Image.fromarray(grey).save(OUT / "grey_want.png")
    sizes = {"cm": ("CENTIMETER", 20000.0), "inch": ("INCH", 50800.0), "screen": ("INCH", 96.0)}
    for name, (unit, value) in sizes.items():
        resolution = (value, value)
        tifffile.imwrite(OUT / f"size_{name}.tif", rgb, resolution=resolution, resolutionunit=unit, **options)
    ome = {"axes": "YXS", "PhysicalSizeX": 500.0, "PhysicalSizeXUnit": "nm", "PhysicalSizeY": 500.0}
    tifffile.imwrite(OUT / "size_ome.tif", rgb, ome=True, metadata=ome, **options)
    Image.fromarray(rgb).save(OUT / "size_phys.png", dpi=(50800, 50800))


def cuts():
    found = {}
    for path in sorted(OUT.iterdir()):
        if path.suffix not in (".jpg", ".png", ".webp", ".bmp", ".gif", ".tif") or "want" in path.name:
            continue
        data = path.read_bytes()
        whole = pillow(data)
        lengths = sorted({len(data) * c // 100 for c in CUTS} | {len(data) - k for k in (1, 2, 3, 12)})
        lengths = [n for n in lengths if n > 0]
        found[path.name] = {
            "lengths": lengths,
            "read": [n for n in lengths if pillow(data[:n]) is not None],
        }
        if whole is not None and not path.name.startswith(("meaning", "grey_white", "size")):
            Image.fromarray(whole).save(f"{path}.want.png")
    return found


def volumes():
    found = {}
    random = np.random.default_rng(3)
    angle = 0.3
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.array([[-1, 0, 0], [0, 0, 1.5], [0, -1.2, 0]])
    affine[:3, 3] = [10, -12, 9]
    for name, kind, shape in [
        ("u1.mgh", np.uint8, (7, 6, 5)),
        ("i2.mgz", np.int16, (7, 6, 5)),
        ("i4.mgz", np.int32, (7, 6, 5)),
        ("f4.mgz", np.float32, (7, 6, 5)),
        ("frames.mgz", np.float32, (7, 6, 5, 3)),
    ]:
        data = random.integers(0, 200, shape).astype(kind)
        nib.save(nib.MGHImage(data, affine), OUT / name)
        found[name] = None
    plain = (OUT / "u1.mgh").read_bytes()
    (OUT / "no_geometry.mgh").write_bytes(plain[:28] + b"\0\0" + plain[30:])
    found["no_geometry.mgh"] = None
    for name in found:
        image = nib.load(OUT / name)
        affine = image.affine
        if name == "no_geometry.mgh":
            # FreeSurfer's own default, whose last two axes nibabel takes the other way round.
            affine = np.array([[-1, 0, 0, 0], [0, 0, 1, 0], [0, -1, 0, 0], [0, 0, 0, 1.0]])
            affine[:3, 3] = -affine[:3, :3] @ np.array(image.shape) / 2
        data = np.asarray(image.dataobj)
        frame = data[..., 1] if data.ndim == 4 else data
        found[name] = {
            "shape": [int(n) for n in image.shape],
            "affine": np.round(affine, 9).tolist(),
            "values": frame.ravel(order="F").astype(float).tolist(),
        }
    return found


def main():
    ImageFile.LOAD_TRUNCATED_IMAGES = False
    OUT.mkdir(parents=True, exist_ok=True)
    photos()
    meanings()
    golden = {"cuts": cuts(), "volumes": volumes()}
    (OUT / "golden.json").write_text(json.dumps(golden))
    print(len(golden["cuts"]), "pictures,", len(golden["volumes"]), "volumes")


if __name__ == "__main__":
    main()
