"""Golden values of paired tests: crates/eval/tests/golden/paired.json, by scipy.

Needs scipy and numpy (scripts/oracles.sh). Exact Wilcoxon tests with zeros and ties are counted here over all
signs, since scipy has no exact test with both; one without is scipy's own.
"""

import itertools
import json
from pathlib import Path

import numpy as np
from scipy import stats

rng = np.random.default_rng(7)


def exact(d):
    ranks = stats.rankdata(np.abs(d))
    keep = np.array(d) != 0
    ranks, positive = ranks[keep], np.array(d)[keep] > 0
    if not len(ranks):
        return 1.0
    total, seen = ranks.sum(), ranks[positive].sum()
    extreme = min(seen, total - seen)
    sums = [np.dot(s, ranks) for s in itertools.product([0, 1], repeat=len(ranks))]
    return min(1.0, 2 * np.mean(np.array(sums) <= extreme + 1e-9))


wilcoxon = []
for n in [1, 3, 6, 9, 12]:
    d = [round(float(x), 1) for x in rng.normal(0.3, 0.5, n)]
    wilcoxon.append({"d": d, "p": exact(d), "tolerance": 1e-9})
wilcoxon.append({"d": [0.0] * 5, "p": 1.0, "tolerance": 1e-9})
d = rng.normal(0.2, 1, 40).tolist()
wilcoxon.append({"d": d, "p": float(stats.wilcoxon(d, method="exact").pvalue), "tolerance": 1e-9})
d = [round(float(x), 1) for x in rng.normal(0.1, 0.5, 200)]
approx = stats.wilcoxon(d, zero_method="pratt", correction=False, method="approx").pvalue
wilcoxon.append({"d": d, "p": float(approx), "tolerance": 1e-6})

mcnemar = [
    {"b": b, "c": c, "p": float(stats.binomtest(min(b, c), b + c).pvalue) if b + c else 1.0}
    for b, c in [(0, 0), (1, 0), (0, 6), (3, 9), (40, 61), (500, 560)]
]
student = [{"df": df, "t": float(stats.t.ppf(0.975, df))} for df in [1, 2, 4, 11, 12, 13, 20, 63, 500]]
none_of = [{"n": n, "p": 1 - 0.025 ** (1 / n)} for n in [1, 10, 347]]
for case in none_of:
    assert abs(case["p"] - stats.binomtest(0, case["n"]).proportion_ci(0.95, "exact").high) < 1e-9
out = Path(__file__).parent.parent / "crates/eval/tests/golden/paired.json"
golden = {"wilcoxon": wilcoxon, "mcnemar": mcnemar, "student": student, "none_of": none_of}
out.write_text(json.dumps(golden, indent=1) + "\n")
