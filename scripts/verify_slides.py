#!/usr/bin/env python3
"""Checks slides end to end against other programs, and prints what it found.

    .venv/bin/python scripts/verify_slides.py

Needs the environment and the slide of scripts/oracles.sh, a release build, and ../shared for the model and tiles of
glands. Makes a slide of 100,000 by 100,000 pixels (85 MB) in target/slides.
"""

import csv
import gzip
import json
import pathlib
import subprocess
import sys

import numpy as np
import openslide
import shapely.geometry
import tifffile
from PIL import Image

root = pathlib.Path(__file__).resolve().parent.parent
ampoule = root / "target/release/ampoule"
shared = root.parent / "shared"
work = root / "target/slides/verify"
work.mkdir(parents=True, exist_ok=True)
model = shared / "models/he_resunet16.onnx"
failed = 0


def say(good, text):
    global failed
    failed += not good
    print(("ok    " if good else "WRONG ") + text, flush=True)


def run(*args, recipe="recipes/glas.toml", peak=False):
    command = [ampoule, "run", *args, "--recipe", recipe, "--overwrite", "--json", "--quiet"]
    if peak:
        command = ["/usr/bin/time", "-f", "%M", *command]
    done = subprocess.run([str(c) for c in command], cwd=root, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{command}: {done.stderr}")
    record = json.loads(done.stdout.splitlines()[-1])
    if peak:
        record["measured_mib"] = int(done.stderr.split()[-1]) / 1024
    return record


def features(path):
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", encoding="utf-8") as f:
        return json.load(f)


def check_geojson(path, record):
    """What QuPath's reader asks for, valid polygons, and areas that are those of the pixels."""
    collection = features(path)
    good = collection["type"] == "FeatureCollection"
    ids, areas = set(), {}
    for f in collection["features"]:
        p = f["properties"]
        good &= f["type"] == "Feature" and f["geometry"]["type"] == "Polygon"
        good &= p["objectType"] in ("annotation", "tile") and isinstance(p["measurements"], dict)
        c = p["classification"]
        good &= isinstance(c["name"], str) and len(c["color"]) == 3 and all(0 <= v <= 255 for v in c["color"])
        ids.add(f["id"])
        rings = f["geometry"]["coordinates"]
        good &= all(r[0] == r[-1] and len(r) >= 4 for r in rings)
        polygon = shapely.geometry.Polygon(rings[0], rings[1:])
        good &= polygon.is_valid
        if p["objectType"] == "annotation":
            areas[c["name"]] = areas.get(c["name"], 0) + p["measurements"]["Area µm^2"]
            drawn = polygon.area * record["mpp"] ** 2
            # Corners are cut by an eighth of a pixel of the network's grid.
            good &= abs(drawn - p["measurements"]["Area µm^2"]) < 0.2 * p["measurements"]["Area µm^2"] + 50
    good &= len(ids) == len(collection["features"])
    say(good, f"{path.name}: {len(ids)} features as QuPath reads them, all polygons valid")


# The same pixels as a tile and as a slide.
everywhere = work / "everywhere.toml"
everywhere.write_text((root / "recipes/glas.toml").read_text().replace('"otsu-without-pens"', '"none"').replace("smallest = 500.0", ""))
dev = [l.strip() for l in open(shared / "data/splits/he_dev.txt")]
equal = total = 0
for name in dev:
    tile = next((shared / "data/he_train/images").glob(pathlib.Path(name).stem + ".*"))
    pixels = np.asarray(Image.open(tile).convert("RGB"))
    slide = work / f"{tile.stem}.ome.tif"
    tifffile.imwrite(slide, pixels, ome=True, tile=(256, 256), photometric="rgb", compression="deflate",
                     metadata={"axes": "YXS", "PhysicalSizeX": 0.62, "PhysicalSizeXUnit": "µm"})
    run(model, tile, "-o", work / "tiles")
    record = run(model, slide, "-o", work / "slides", "--save-probabilities", recipe=everywhere)
    mask = np.asarray(Image.open(work / "tiles" / f"{tile.stem}_mask.png"))
    p = openslide.OpenSlide(work / "slides" / f"{tile.stem}_prob_gland.tif")
    p = np.asarray(p.read_region((0, 0), 0, p.dimensions).convert("L"))
    h, w = p.shape
    # A half lies between the grey levels 127 and 128.
    same = (mask[: 2 * h : 2, : 2 * w : 2] > 0) == (p > 127)
    equal += (same | (np.abs(p.astype(int) - 127.5) < 1)).sum()
    total += same.size
    slide.unlink()
say(equal / total > 0.9999, f"{len(dev)} tiles as tiles and as slides: {equal} of {total} pixels equal")
check_geojson(work / "slides" / f"{tile.stem}.geojson", record)

# A real slide, in windows.
svs = root / "target/slides/default.svs"
if svs.exists():
    record = run(model, svs, "-o", work / "svs", "--save-probabilities", "--gzip")
    check_geojson(work / "svs/default.geojson.gz", record)
    rows = list(csv.DictReader(open(work / "svs/default.csv")))
    columns = ["minx", "miny", "width", "height", "prob_background", "prob_gland"]
    say(list(rows[0]) == columns and len(rows) == record["tiles"], f"default.csv: WSInfer's columns, {len(rows)} windows")
    maps = openslide.OpenSlide(work / "svs/default_prob_gland.tif")
    say(maps.level_count > 2, f"default_prob_gland.tif: OpenSlide reads {maps.level_count} levels, {maps.properties['openslide.mpp-x'][:5]} microns")
    area = record["labels"][0]["mm2"]
    p = np.asarray(maps.read_region((0, 0), 0, maps.dimensions).convert("L"))
    share = (p > 127).sum() * (record["mpp"] * record["downsample"]) ** 2 / 1e6
    say(abs(area - share) < 0.002, f"default.svs: {area:.4f} mm² of glands, {share:.4f} by the map")

# A slide of 10^5 by 10^5 pixels.
big = root / "target/slides/big.tif"
if not big.exists():
    subprocess.run([sys.executable, root / "scripts/big_slide.py", big], check=True, cwd=root / "scripts")
record = run(model, big, "-o", work / "big", "--save-probabilities", "--max-ram", "2G", peak=True)
say(
    record["measured_mib"] < 2048,
    f"100,000 by 100,000 pixels: {record['tiles']} windows on {record['tissue_mm2']:.0f} mm² of tissue in "
    f"{record['timings_ms']['total'] / 1e3:.1f} s, {record['tiles_per_second']:.2f} a second, {record['measured_mib']:.0f} MiB; "
    f"{100 * record['network_share']:.1f} % of the threads' time in the network",
)
say(record["network_share"] >= 0.9, "decoding, blending and writing take less than a tenth")
little = run(model, big, "-o", work / "little", "--save-probabilities", "--max-ram", "600M", peak=True)
same = [o for o in record["outputs"]] == [o for o in little["outputs"]]
say(same and little["measured_mib"] < 600, f"the same files within 600 MiB: {little['measured_mib']:.0f} MiB, {little['tiles_per_second']:.2f} windows a second")
sys.exit(failed > 0)
