"""Cases of studies/paper.toml, and the peers' quantized models: `paper_cases.py SHARED WORK`.

WORK/{glas,dfu_vgg11,dfu_densenet121}/{calibrate,validate,test}, with tables of labels for patches, and WORK/brain/
{calibrate,validate,test}: gland tiles calibrate on 40 and validate on 28 of the training part and test on the dev
part; patches on 300 of train, dev and test; heads on Colin27, one and two others. No case is in two sets. Then, where
nncf is installed (tools/peers.sh --study), WORK/NAME.nncf.onnx and WORK/NAME.ort.onnx, calibrated on the same cases.
Needs pillow and numpy.
"""

import csv
import shutil
import sys
from pathlib import Path

import numpy as np
from PIL import Image

shared, work = Path(sys.argv[1]), Path(sys.argv[2])
data = shared / "data"
MEAN = np.array([0.485, 0.456, 0.406], np.float32)
DEVIATION = np.array([0.229, 0.224, 0.225], np.float32)


def fresh(*parts):
    folder = work.joinpath(*parts)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def listed(name):
    return [line.strip() for line in open(data / "splits" / name) if line.strip()]


train, dev = listed("he_train.txt"), listed("he_dev.txt")
for folder, names in [("calibrate", train[:40]), ("validate", train[40:]), ("test", dev)]:
    into = fresh("glas", folder)
    for name in names:
        for file in (data / "he_train/images").glob(Path(name).stem + ".*"):
            shutil.copy(file, into)
for model in ["dfu_vgg11", "dfu_densenet121"]:
    for folder, split in [("calibrate", "train"), ("validate", "dev"), ("test", "test")]:
        into = fresh(model, folder)
        rows = list(csv.DictReader(open(data / "splits" / f"dfu_patches_{split}.csv")))
        if split == "train":
            rows = rows[:: len(rows) // 300][:300]
        with open(work / model / f"{folder}.csv", "w") as table:
            table.write("file,label,group\n")
            for i, r in enumerate(rows):
                x, y, name = int(r["x"]), int(r["y"]), f"{split}_{i:04d}.png"
                Image.open(data / r["file"]).convert("RGB").crop((x, y, x + 128, y + 128)).save(into / name)
                # Patches of one photo count once.
                table.write(f"{name},{r['label']},{Path(r['file']).stem}\n")
root = Path(__file__).parent.parent
heads = [
    ("calibrate", [root / "assets/colin27.nii.gz"]),
    ("validate", [data / "brain/t1_crop.nii.gz"]),
    ("test", [data / "brain/chris_t1.nii.gz", root / "target/heads/MNI152_T1_2mm.nii.gz"]),
]
for folder, files in heads:
    into = fresh("brain", folder)
    for file in files:
        if file.exists():
            shutil.copy(file, into)


def tensor(file, reduce):
    image = Image.open(file).convert("RGB")
    if reduce > 1:
        image = image.reduce(reduce)
        image = image.crop((0, 0, image.width // 16 * 16, image.height // 16 * 16))
    return ((np.asarray(image, np.float32) / 255 - MEAN) / DEVIATION).transpose(2, 0, 1)[None].copy()


try:
    from quantizers import nncf_quantized, ort_quantized
    import nncf  # noqa: F401
except ImportError:
    sys.exit("nncf is not installed (tools/peers.sh --study): no quantized models of peers")
for name, file, reduce in [("glas", "he_resunet16", 2), ("dfu_vgg11", "dfu_vgg11", 1), ("dfu_densenet121", "dfu_densenet121", 1)]:
    cases = sorted((work / name / "calibrate").iterdir())
    inputs = [tensor(c, reduce) for c in cases]
    nncf_quantized(shared / "models" / f"{file}.onnx", work / f"{name}.nncf.onnx", inputs)
    ort_quantized(shared / "models" / f"{file}.onnx", work / f"{name}.ort.onnx", inputs, "qdq")
    (work / f"{name}.ort.prep.onnx").unlink(missing_ok=True)
    print(name, len(inputs), "calibration cases", flush=True)
