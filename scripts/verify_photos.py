"""Runs photos and tiles through Ampoule and through ONNX Runtime, and compares.

    .venv/bin/python scripts/verify_photos.py AMPOULE SHARED WORK

SHARED holds models/ and data/ as the cards there say; WORK gets the patches and the results. Prints
one line a model and ends with 1 when a class, a label or a probability is off.
"""
import csv
import json
import pathlib
import shutil
import subprocess
import sys

import numpy as np
import onnxruntime as ort
from PIL import Image

ampoule, shared, work = sys.argv[1], pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3])
MEAN = np.array([0.485, 0.456, 0.406], np.float32)
STD = np.array([0.229, 0.224, 0.225], np.float32)
failed = False


def session(name):
    options = ort.SessionOptions()
    options.intra_op_num_threads = 2
    return ort.InferenceSession(str(shared / "models" / name), options, providers=["CPUExecutionProvider"])


def tensor(a):
    return ((a.astype(np.float32) / 255 - MEAN) / STD).transpose(2, 0, 1)[None].astype(np.float32)


def run(*arguments):
    done = subprocess.run([ampoule, "run", *map(str, arguments), "--overwrite", "--quiet"])
    assert done.returncode == 0, done


def say(ok, text):
    global failed
    failed |= not ok
    print(("ok   " if ok else "FAIL ") + text, flush=True)


# Patches of the photos, cut at 1:1 and stored without loss.
for split in ("dev", "test"):
    folder = work / "patches" / split
    folder.mkdir(parents=True, exist_ok=True)
    rows = list(csv.DictReader(open(shared / "data" / "splits" / f"dfu_patches_{split}.csv")))
    truth = [("file", "label", "group")]
    for r in rows:
        stem = pathlib.Path(r["file"]).stem
        path = folder / f"{stem}_{r['x']}_{r['y']}.png"
        x, y = int(r["x"]), int(r["y"])
        if not path.exists():
            Image.open(shared / "data" / r["file"]).convert("RGB").crop((x, y, x + 128, y + 128)).save(path)
        truth.append((path.name, ["normal skin", "ulcer"][int(r["label"])], stem))
    csv.writer(open(work / f"{split}_truth.csv", "w", newline="")).writerows(truth)

for name in ("dfu_vgg11", "dfu_densenet121"):
    net = session(f"{name}.onnx")
    card = json.load(open(shared / "models" / f"{name}.json"))["metrics"]
    for split, key in (("dev", "dev_selected_on"), ("test", "internal_test")):
        out = work / name / split
        run(shared / "models" / f"{name}.onnx", work / "patches" / split, "-o", out, "--recipe", "recipes/dfu.toml")
        rows = list(csv.DictReader(open(out / "predictions.csv")))
        most, equal = 0.0, 0
        for r in rows:
            want = net.run(None, {"image": tensor(np.asarray(Image.open(r["file"])))})[0][0]
            got = [float(r["prob_normal skin"]), float(r["prob_ulcer"])]
            most = max(most, np.abs(want - got).max())
            equal += r["class"] == ["normal skin", "ulcer"][int(want[1] > want[0])]
        say(most < 1e-4 and equal == len(rows), f"{name} {split}: {equal} of {len(rows)} classes equal, probabilities within {most:.1e}")
        done = subprocess.run(
            [ampoule, "evaluate", out / "predictions.csv", work / f"{split}_truth.csv", "--json"], capture_output=True, text=True
        )
        if done.returncode:
            say(False, f"{name} {split}: evaluate says {done.stderr.strip()}")
            continue
        found, want = json.loads(done.stdout)["total"], card[key]
        pairs = {
            "accuracy": found["accuracy"],
            "balanced_accuracy": found["balanced_accuracy"],
            "auc": found["auroc"],
            "sensitivity": found["classes"][1]["sensitivity"],
            "specificity": found["classes"][1]["specificity"],
            "f1_ulcer": found["classes"][1]["f1"],
        }
        off = max(abs(v - want[k]) for k, v in pairs.items())
        say(off < 0.002, f"{name} {split}: metrics of the card within {off:.1e} (balanced accuracy {pairs['balanced_accuracy']:.4f}, AUROC {pairs['auc']:.4f})")

# Tiles.
net = session("he_resunet16.onnx")
out = work / "glas"
tiles = sorted((shared / "data" / "he_train" / "images").iterdir())
run(shared / "models" / "he_resunet16.onnx", shared / "data" / "he_train" / "images", "-o", out, "--recipe", "recipes/glas.toml")
equal = total = 0
jpeg = []
dev = {pathlib.Path(l.strip()).stem for l in open(shared / "data" / "splits" / "he_dev.txt")}
for path in tiles:
    a = np.asarray(Image.open(path).convert("RGB"))
    h, w = a.shape[0] // 2, a.shape[1] // 2
    half = a[: 2 * h, : 2 * w].astype(np.float32).reshape(h, 2, w, 2, 3).mean((1, 3))
    t = np.pad(tensor(half), ((0, 0), (0, 0), (0, -h % 16), (0, -w % 16)), mode="reflect")
    want = net.run(None, {"image": t})[0][0, 1, :h, :w] > 0.5
    full = np.pad(want.repeat(2, 0).repeat(2, 1), ((0, a.shape[0] - 2 * h), (0, a.shape[1] - 2 * w)), mode="edge")
    got = np.asarray(Image.open(out / f"{path.stem}_mask.png")) > 0
    lossless = path.suffix == ".png"
    if lossless:
        equal += (got == full).sum()
        total += full.size
    if not lossless:
        # Decoders of JPEG differ by a grey level here and there.
        jpeg.append((got == full).mean())
say(equal >= 0.9999 * total and np.mean(jpeg) >= 0.9999, f"glas: {equal / total:.6%} of pixels of lossless tiles equal; JPEG tiles {np.mean(jpeg):.6%}")
card = json.load(open(shared / "models" / "he_resunet16.json"))["metrics"]
for split, key in (("dev", "dev_selected_on"), ("train", "train")):
    # By the program's own evaluation, on folders with the tiles of one split.
    for kind, folder in (("p", out), ("t", shared / "data" / "he_train" / "masks")):
        (work / split / kind).mkdir(parents=True, exist_ok=True)
        for path in tiles:
            if (path.stem in dev) == (split == "dev"):
                source = out / f"{path.stem}_mask.png" if kind == "p" else next(folder.glob(path.stem + ".*"))
                shutil.copy(source, work / split / kind / source.name)
    done = subprocess.run([ampoule, "evaluate", work / split / "p", work / split / "t", "--json"], capture_output=True, text=True, check=True)
    mean, want = json.loads(done.stdout)["total"][0]["dice_mean"], card[key]["dice_mean"]
    say(abs(mean - want) < 0.002, f"glas {split}: mean Dice {mean:.4f}, card {want:.4f}")
sys.exit(failed)
