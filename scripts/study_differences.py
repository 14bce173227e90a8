"""Per-case losses of studies, for the simulation of verdicts: `study_differences.py DIR...`.

Reads the results.json of each folder and writes crates/eval/examples/verdict_error/differences.json: by the names of study,
workload, variant and metric, what each case of the baseline has and the variant has not, in units of the study's margin (1 is
a loss of one margin). Metrics of degree only (Dice, HD95, agreement of masks): labels that are right or wrong have exact bounds,
which are not simulated. Samples that are all equal, or of fewer than 16 cases, tell nothing of a distribution. Needs only Python.
"""

import json
import sys
from pathlib import Path

LEAST = 16
out = Path(__file__).resolve().parent.parent / "crates/eval/examples/verdict_error/differences.json"
found = {}
for folder in map(Path, sys.argv[1:]):
    results = json.loads((folder / "results.json").read_text())
    margins = {w["name"]: w["margins"] for w in results["spec"]["workload"]}
    for workload in results["workloads"]:
        for variant in workload["variants"]:
            if variant["name"] == results["baseline"]:
                continue
            for u in variant["utility"]:
                metric = u["metric"] if u["class"] is None else f"{u['metric']}:{u['class']}"
                if u["mcnemar_p"] is not None or u["metric"] in ("balanced-accuracy", "auroc"):
                    continue
                margin = margins[workload["name"]][u["metric"]]
                margin = margin if isinstance(margin, (int, float)) else margin["mean"]
                # A distance that rises is a loss, a share that falls is one.
                sign = -1 if u["metric"] == "hd95" else 1
                pairs = [c["values"][metric] for c in variant["cases"] if metric in c["values"]]
                losses = [round(sign * (a - b) / margin, 4) + 0.0 for a, b in pairs if None not in (a, b)]
                if len(losses) < LEAST or len(set(losses)) < 3:
                    print(f"left out: {results['name']}, {workload['name']} {variant['name']}, {metric}: {len(losses)} cases, {len(set(losses))} different losses")
                    continue
                found[f"{results['name']}, {workload['name']} {variant['name']}, {metric}"] = losses
out.write_text(json.dumps(found, separators=(",", ":")).replace('],"', '],\n"') + "\n")
for name, losses in found.items():
    print(f"{name}: {len(losses)} cases, mean {sum(losses) / len(losses):+.3f}, largest {max(losses):+.2f} margins")
