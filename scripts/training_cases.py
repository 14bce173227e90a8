"""Cases to fine-tune on: `training_cases.py SHARED WORK`.

WORK/dfu/{train,dev,test} with tables of labels; WORK/glas/{train,dev}, with all masks in WORK/glas/masks;
WORK/heads/{train,validate,test}. The splits are the data's own; no case is in two sets. Needs pillow.
"""

import csv
import shutil
import sys
from pathlib import Path

from PIL import Image

shared, work = Path(sys.argv[1]), Path(sys.argv[2])
data = shared / "data"
root = Path(__file__).parent.parent


def fresh(*parts):
    folder = work.joinpath(*parts)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def listed(name):
    return [line.strip() for line in open(data / "splits" / name) if line.strip()]


for split in ["train", "dev", "test"]:
    into = fresh("dfu", split)
    with open(work / "dfu" / f"{split}.csv", "w") as table:
        table.write("file,label\n")
        for i, r in enumerate(csv.DictReader(open(data / "splits" / f"dfu_patches_{split}.csv"))):
            x, y, name = int(r["x"]), int(r["y"]), f"{split}_{i:04d}.png"
            Image.open(data / r["file"]).convert("RGB").crop((x, y, x + 128, y + 128)).save(into / name)
            table.write(f"{name},{r['label']}\n")
masks = fresh("glas", "masks")
for split in ["train", "dev"]:
    into = fresh("glas", split)
    for name in listed(f"he_{split}.txt"):
        for file in (data / "he_train/images").glob(Path(name).stem + ".*"):
            shutil.copy(file, into)
for file in (data / "he_train/masks").iterdir():
    shutil.copy(file, masks / (file.stem.removesuffix("_anno") + "_mask.png"))
heads = {
    "train": [root / "target/heads/ch2.nii.gz", data / "brain/t1_crop.nii.gz"],
    "validate": [root / "target/heads/MNI152_T1_2mm.nii.gz"],
    "test": [data / "brain/chris_t1.nii.gz"],
}
for folder, files in heads.items():
    into = fresh("heads", folder)
    for file in files:
        if file.exists():
            shutil.copy(file, into)
