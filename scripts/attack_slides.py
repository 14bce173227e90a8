"""Odd pyramids for `scripts/attack.py`: areas of colours are those of the pixels that were written, and OpenSlide's where it reads the
file."""

import csv
import itertools

import numpy as np
import tifffile
from PIL import Image

from attack_groups import Attempt
from attack_photos import RECIPE, chooser, chosen, colours

LABELS = ("red", "green", "blue")
MPP = 0.5


def areas(rgb):
    """Square millimetres of each label."""
    counts = np.bincount(chosen(rgb).ravel(), minlength=4)
    return counts[1:] * (MPP / 1000) ** 2


def odd_slides(d):
    """`run` on odd pyramids, against the pixels that were written."""
    chooser(d / "m.onnx")
    # Scores of slides are blended, and so are probabilities.
    text = RECIPE.replace('"none"', '"softmax"') + f'[slide]\nmpp = {MPP}\nwindow = 128\ntissue = "none"\n'
    (d / "slide.toml").write_text(text)
    place, out, each = d / "slides", d / "out", {}
    place.mkdir()
    big = np.kron(colours((20, 26), seed=8)[::16, ::16], np.ones((32, 32, 1), np.uint8)).astype(np.uint8)

    def pyramid(name, levels, wanted, may_fail=False, bigtiff=False, byteorder="<", subs=False, extra=(), **how):
        try:
            with tifffile.TiffWriter(place / f"{name}.tif", bigtiff=bigtiff, byteorder=byteorder) as f:
                for i, level in enumerate(levels):
                    f.write(level, photometric="rgb", subfiletype=int(i > 0), resolution=(1e4 / (MPP * 2**i), 1e4 / (MPP * 2**i)), resolutionunit="CENTIMETER",
                            **{"tile": (64, 64), **how})
                for level, description in extra:
                    f.write(level, photometric="rgb", description=description)
        except Exception as e:
            print(f"  {name} cannot be made: {e}")
            return

        def right():
            table = list(csv.DictReader((out / "cases.csv").open())) if (out / "cases.csv").is_file() else []
            row = next((r for r in table if r["case"].endswith(name)), None)
            if row is None or row["status"] != "done":
                return [] if may_fail else [f"it was refused: {row}"]
            if wanted is None:
                return ["it was not refused"]
            found = np.array([float(row.get(f"mm2_{c}") or 0) for c in LABELS])
            off = np.abs(found - areas(wanted)).max() / areas(wanted).max()
            return [f"areas {found.tolist()}, not {areas(wanted).tolist()}"] if off > 0.02 else []
        each[name] = right

    three = [big, big[::2, ::2], big[::4, ::4]]
    for tile, pack, big_file, order in itertools.product(((16, 16), (64, 64), (48, 80), (256, 256), (1024, 1024)), (None, "zlib", "jpeg", "lzw"), (False, True), "<>"):
        pyramid(f"t{tile[0]}x{tile[1]}_{pack}_{int(big_file)}_{'le' if order == '<' else 'be'}", three, big, tile=tile, compression=pack, bigtiff=big_file, byteorder=order)
    pyramid("one_level", [big], big, may_fail=True)
    pyramid("not_halves", [big, big[::3, ::3]], big)
    pyramid("last_first", three[::-1], big, may_fail=True)
    pyramid("odd_sizes", [big[:637, :801], big[:637:2, :801:2]], big[:637, :801])
    pyramid("jpeg2000", three, big, compression="jpeg2000", may_fail=True)
    pyramid("webp", three, big, compression="webp", may_fail=True)
    pyramid("zstd", three, big, compression="zstd", may_fail=True)
    pyramid("predicted", three, big, compression="zlib", predictor=True)
    pyramid("sixteen", [x.astype(np.uint16) * 257 for x in three], big, may_fail=True)
    pyramid("label", three, big, extra=[(np.full((100, 120, 3), 200, np.uint8), "label"), (np.full((80, 160, 3), 150, np.uint8), "macro")])
    pyramid("striped", three, big, tile=None, rowsperstrip=16, may_fail=True)
    # A level that shows something else is seen only where it is used.
    pyramid("halves_lie", [big, big[::2, ::2][:, ::-1]], big)
    yield Attempt("pyramids", ["run", "m.onnx", "slides", "-o", "out", "--recipe", "slide.toml"], codes=(0, 1), each=each, seconds=600, most=60_000)
    data = (place / "t64x64_jpeg_0_le.tif").read_bytes()
    damaged = d / "damaged"
    damaged.mkdir()
    for percent in (1, 20, 50, 80, 99):
        (damaged / f"cut{percent}.tif").write_bytes(data[:len(data) * percent // 100])
    rng = np.random.default_rng(3)
    for n in range(20):
        spoiled = bytearray(data)
        for at in rng.integers(8, len(data), 20):
            spoiled[at] = rng.integers(0, 256)
        (damaged / f"spoiled{n}.tif").write_bytes(spoiled)
    Image.fromarray(big).save(damaged / "plain.png")
    yield Attempt("damaged", ["run", "m.onnx", "damaged", "-o", "out damaged", "--recipe", "slide.toml", "--max-ram", "400M"], codes=(0, 1, 3), seconds=300, most=60_000, mib=400)


ALL = (odd_slides,)
