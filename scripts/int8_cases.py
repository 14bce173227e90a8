"""The cases of docs/measuring.md, "INT8": `int8_cases.py SHARED WORK`.

Writes WORK/he/{cal,val} (train and dev tiles), WORK/dfu/{cal,val} (300 train patches, the dev patches) with
WORK/dfu/val.csv, and WORK/brain/{cal,val} (Colin27 of assets/ and the heads of SHARED). Needs pillow.
"""

import csv
import shutil
import sys
from pathlib import Path

from PIL import Image

shared, work = Path(sys.argv[1]), Path(sys.argv[2])
data = shared / "data"
for split, folder in [("train", "cal"), ("dev", "val")]:
    tiles = work / "he" / folder
    tiles.mkdir(parents=True, exist_ok=True)
    for line in (data / "splits" / f"he_{split}.txt").read_text().split():
        for file in (data / "he_train/images").glob(Path(line).stem + ".*"):
            shutil.copy(file, tiles)
    patches = work / "dfu" / folder
    patches.mkdir(parents=True, exist_ok=True)
    rows = list(csv.DictReader(open(data / "splits" / f"dfu_patches_{split}.csv")))
    if split == "train":
        rows = rows[:: len(rows) // 300][:300]
    with open(work / "dfu" / f"{folder}.csv", "w") as table:
        table.write("file,label\n")
        for i, r in enumerate(rows):
            x, y, name = int(r["x"]), int(r["y"]), f"{split}_{i:04d}.png"
            image = Image.open(data / r["file"]).convert("RGB")
            image.crop((x, y, x + 128, y + 128)).save(patches / name)
            table.write(f"{name},{r['label']}\n")
for folder, heads in [("cal", [Path("assets/colin27.nii.gz")]), ("val", (data / "brain").glob("*.nii.gz"))]:
    (work / "brain" / folder).mkdir(parents=True, exist_ok=True)
    for head in heads:
        shutil.copy(head, work / "brain" / folder)
