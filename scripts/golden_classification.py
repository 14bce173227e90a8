"""Makes crates/eval/tests/golden: what scikit-learn says about tables of classes.

    .venv/bin/python scripts/golden_classification.py crates/eval/tests/golden

scripts/oracles.sh makes the environment. The same versions give the same files.
"""
import csv
import json
import pathlib
import sys

import numpy as np
from sklearn import metrics

out = pathlib.Path(sys.argv[1])
out.mkdir(parents=True, exist_ok=True)
rng = np.random.default_rng(5)
golden = {}
for name, classes, n, ties in [("two", 2, 120, False), ("ties", 2, 60, True), ("four", 4, 200, False)]:
    truth = rng.integers(0, classes, n)
    truth[:classes] = range(classes)
    logits = rng.normal(size=(n, classes)) + 1.3 * np.eye(classes)[truth]
    if ties:
        logits = np.round(logits)
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    # As the table holds them.
    p = np.round(p, 7)
    called = p.argmax(1)
    names = [f"class {i}" for i in range(classes)]
    with open(out / f"{name}_predictions.csv", "w", newline="") as f:
        w = csv.writer(f, lineterminator="\n")
        w.writerow(["file", "class", *names])
        w.writerows([f"photos/{i}.png", names[called[i]], *(f"{v:.7f}" for v in p[i])] for i in range(n))
    with open(out / f"{name}_truth.csv", "w", newline="") as f:
        w = csv.writer(f, lineterminator="\n")
        w.writerow(["file", "label", "group"])
        w.writerows([f"{i}.png", names[truth[i]], f"p{i // 3}"] for i in rng.permutation(n))
    one = np.eye(classes)[truth]
    auc = [metrics.roc_auc_score(one[:, c], p[:, c]) for c in range(classes)]
    ap = [metrics.average_precision_score(one[:, c], p[:, c]) for c in range(classes)]
    confidence, right = p.max(1), called == truth
    edges = np.linspace(0, 1, 16)
    which = np.clip(np.searchsorted(edges, confidence, side="left"), 1, 15)
    ece = sum(abs(confidence[which == b].sum() - right[which == b].sum()) for b in range(1, 16)) / n
    report = metrics.classification_report(truth, called, output_dict=True, zero_division=0)
    golden[name] = {
        "accuracy": metrics.accuracy_score(truth, called),
        "balanced_accuracy": metrics.balanced_accuracy_score(truth, called),
        "macro_f1": metrics.f1_score(truth, called, average="macro"),
        "auroc": auc[1] if classes == 2 else float(np.mean(auc)),
        "pr_auc": ap[1] if classes == 2 else float(np.mean(ap)),
        "brier": float(((p - one) ** 2).sum(1).mean()),
        "calibration_error": float(ece),
        "confusion": metrics.confusion_matrix(truth, called).tolist(),
        "sensitivity": [report[str(c)]["recall"] for c in range(classes)],
        "precision": [report[str(c)]["precision"] for c in range(classes)],
        "f1": [report[str(c)]["f1-score"] for c in range(classes)],
        "class_auroc": auc,
        "class_pr_auc": ap,
    }
json.dump(golden, open(out / "classification.json", "w"), indent=1)
