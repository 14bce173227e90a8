"""Golden values of bounds of paired shares and of AUROC, for crates/eval/tests/golden/evidence.json.

    python3 -m venv .venv-evidence && .venv-evidence/bin/pip install numpy==2.2.1 scipy==1.15.0 statsmodels==0.14.4
    .venv-evidence/bin/python scripts/golden_evidence.py

Tango's interval: the likelihood of a paired table is maximised numerically under each difference, and the ends are where the
score test is at the normal quantile. DeLong: the structural components by their definition, pair by pair. Both are written from
the papers' definitions and share no formula with the crate. The case claim: statsmodels' Clopper-Pearson (`beta`).
"""
import json, pathlib
import numpy as np
from scipy import optimize, stats
from statsmodels.stats.proportion import proportion_confint

Z = stats.norm.ppf(0.975)


def constrained(worse, better, n, d):
    """The most likely share that gets better where that which gets worse is larger by d."""
    def minus(q):
        p, rest = q + d, 1 - 2 * q - d
        terms = [(worse, p), (better, q), (n - worse - better, rest)]
        return -sum(k * np.log(max(x, 1e-300)) for k, x in terms if k > 0)
    low, high = max(0.0, -d), (1 - d) / 2
    q = optimize.minimize_scalar(minus, bounds=(low, high), method="bounded", options={"xatol": 1e-14}).x
    return min([low, q, high], key=minus)


def score(worse, better, n, d):
    q = constrained(worse, better, n, d)
    return (worse - better - n * d) / np.sqrt(n * (2 * q + d - d * d))


def tango(worse, better, n):
    point = (worse - better) / n
    high = optimize.brentq(lambda d: score(worse, better, n, d) + Z, point + 1e-9, 1 - 1e-9, xtol=1e-13)
    low = optimize.brentq(lambda d: score(worse, better, n, d) - Z, -1 + 1e-9, point - 1e-9, xtol=1e-13)
    return low, high


def components(truth, p):
    own, others = p[truth == 1], p[truth == 0]
    psi = (own[:, None] > others[None, :]) + 0.5 * (own[:, None] == others[None, :])
    return psi.mean(1), psi.mean(0)


def delong(truth, a, b):
    (xa, ya), (xb, yb) = components(truth, a), components(truth, b)
    return np.var(xa - xb, ddof=1) / len(xa) + np.var(ya - yb, ddof=1) / len(ya)


out = {"tango": [], "delong": [], "share": []}
for worse, better, n in [(0, 0, 12), (0, 0, 385), (1, 0, 40), (3, 1, 56), (2, 7, 100), (30, 2, 400), (5, 5, 347), (9, 0, 44)]:
    low, high = tango(worse, better, n)
    out["tango"].append({"worse": worse, "better": better, "n": n, "low": low, "high": high})
rng = np.random.default_rng(25)
for n, ties in [(20, 0), (60, 1), (100, 2)]:
    truth = (rng.random(n) < 0.4).astype(int)
    truth[:2] = [0, 1]
    a = np.clip(truth * 0.3 + rng.random(n) * 0.7, 0, 1)
    b = np.clip(a + rng.normal(0, 0.1, n), 0, 1)
    if ties:
        a, b = np.round(a, ties), np.round(b, ties)
    rows = lambda p: [[int(t), float(x)] for t, x in zip(truth, p)]
    out["delong"].append({"first": rows(a), "second": rows(b), "variance": float(delong(truth, a, b))})
for k, n in [(0, 6), (0, 12), (0, 347), (1, 36), (3, 56), (40, 100)]:
    low, high = proportion_confint(k, n, alpha=0.05, method="beta")
    out["share"].append({"k": k, "n": n, "low": float(low), "high": float(high)})
path = pathlib.Path(__file__).parents[1] / "crates/eval/tests/golden/evidence.json"
path.write_text(json.dumps(out, indent=1) + "\n")
