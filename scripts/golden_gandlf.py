#!/usr/bin/env python3
"""Makes crates/eval/tests/golden/gandlf.json: measures under the names of GaNDLF's generate-metrics.

    .venv/bin/python scripts/golden_gandlf.py

Overlaps by SimpleITK, surfaces by scipy on the label maps of scripts/golden_tiles.py; classes by scikit-learn on the
tables of scripts/golden_classification.py. Needs the environment of scripts/oracles.sh.
"""

import csv
import json
import pathlib

import numpy as np
import SimpleITK as sitk
from PIL import Image
from scipy import ndimage
from sklearn import metrics

GOLDEN = pathlib.Path("crates/eval/tests/golden")


def borders(mask):
    return mask ^ ndimage.binary_erosion(mask)


def segmentation(p, t, classes):
    out = {}
    for i, value in enumerate(classes):
        a, b = p == value, t == value
        f = sitk.LabelOverlapMeasuresImageFilter()
        # SimpleITK takes the prediction first.
        f.Execute(sitk.GetImageFromArray(a.astype(np.uint8)), sitk.GetImageFromArray(b.astype(np.uint8)))
        ea, eb = borders(a), borders(b)
        forward = ndimage.distance_transform_edt(~eb)[ea]
        backward = ndimage.distance_transform_edt(~ea)[eb]
        pooled = np.concatenate([forward, backward])
        tp, fp, fn, tn = (a & b).sum(), (a & ~b).sum(), (~a & b).sum(), (~a & ~b).sum()
        out[str(i)] = {
            "dice": f.GetDiceCoefficient(),
            "nsd": float((pooled <= 1).mean()),
            "hd100": float(pooled.max()),
            "hd95": float(np.percentile(pooled, 95)),
            "sensitivity": float(tp / (tp + fn)),
            "specificity": float(tn / (tn + fp)),
        }
        out[f"jaccard_{i}"] = f.GetJaccardCoefficient()
        out[f"falseNegativeError_{i}"] = f.GetFalseNegativeError()
        out[f"falsePositiveError_{i}"] = f.GetFalsePositiveError()
        out[f"meanOverlap_{i}"] = f.GetMeanOverlap()
        out[f"unionOverlap_{i}"] = f.GetUnionOverlap()
        # GaNDLF has the truth first here, so the sign is the other.
        out[f"volumeSimilarity_{i}"] = -f.GetVolumeSimilarity()
    return out


def classification(name):
    rows = list(csv.reader(open(GOLDEN / f"{name}_predictions.csv")))
    names = rows[0][2:]
    truth = {r["file"]: r["label"] for r in csv.DictReader(open(GOLDEN / f"{name}_truth.csv"))}
    p = np.array([[float(v) for v in r[2:]] for r in rows[1:]])
    called = np.array([names.index(r[1]) for r in rows[1:]])
    own = np.array([names.index(truth[r[0].split("/")[-1]]) for r in rows[1:]])
    m = metrics.confusion_matrix(own, called)
    n = m.sum()
    rest = n - m.sum(0) - m.sum(1) + np.diag(m)
    specificity = rest / (rest + m.sum(0) - np.diag(m))
    share = m.sum(1) / n
    auc = np.array([metrics.roc_auc_score(own == c, p[:, c]) for c in range(len(names))])
    per_class = {
        "accuracy": np.diag(m) / m.sum(1),
        "precision": metrics.precision_score(own, called, average=None),
        "recall": metrics.recall_score(own, called, average=None),
        "f1": metrics.f1_score(own, called, average=None),
        "specificity": specificity,
        "auroc": auc,
    }
    micro = metrics.accuracy_score(own, called)
    k = len(names)
    whole = {"specificity": rest.sum() / (rest.sum() + n - np.trace(m)), "auroc": auc.mean()}
    out = {}
    for key, values in per_class.items():
        out[f"{key}_global"] = float(whole.get(key, micro))
        out[f"{key}_per_class"] = [float(v) for v in values]
        out[f"{key}_per_class_average"] = float(values.mean())
        out[f"{key}_per_class_weighted"] = float((values * share).sum())
    assert abs(out["precision_per_class_weighted"] - metrics.precision_score(own, called, average="weighted")) < 1e-12
    out["mcc"] = float(metrics.matthews_corrcoef(own, called))
    return out


def main():
    golden = {"segmentation": {}, "classification": {}}
    for kind in ("one", "several"):
        folder = GOLDEN / "tiles" / kind
        truths = [np.unique(np.asarray(Image.open(path))) for path in (folder / "t").glob("*.png")]
        classes = [0, 1] if kind == "one" else sorted({0, *np.concatenate(truths).tolist()})
        for path in sorted((folder / "p").glob("*.png")):
            stem = path.stem.removesuffix("_labels")
            truth = next((folder / "t").glob(f"{stem}*.png"))
            p, t = np.asarray(Image.open(path)), np.asarray(Image.open(truth))
            if kind == "one":
                p, t = (p > 0).astype(np.uint8), (t > 0).astype(np.uint8)
            if all((p == v).any() and (t == v).any() for v in classes):
                golden["segmentation"][f"{kind}/{stem}"] = segmentation(p, t, classes)
    for name in ("two", "ties", "four"):
        golden["classification"][name] = classification(name)
    (GOLDEN / "gandlf.json").write_text(json.dumps(golden, indent=1) + "\n")
    print(len(golden["segmentation"]), "tiles")


if __name__ == "__main__":
    main()
