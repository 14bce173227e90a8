"""Kolmogorov-Smirnov statistics of samples by scipy, as the tests of `pipeline::population` have them.

    python3 scripts/golden_population.py > crates/pipeline/src/population/smirnov_golden.in
"""

import numpy as np
from scipy.stats import ks_2samp


def sample(n, a, b, shift):
    return np.exp(np.sin(np.arange(n) * a) * b) + shift


CASES = [
    ((10, 1.3, 1.0, 0.0), (12, 0.7, 1.0, 0.4), "exact", 1e-10),
    ((40, 1.3, 1.0, 0.0), (40, 2.1, 1.0, 0.1), "exact", 1e-10),
    ((200, 1.1, 0.7, 0.0), (57, 0.9, 0.7, 0.25), "exact", 1e-9),
    ((5, 1.0, 1.0, 9.0), (7, 1.0, 1.0, 0.0), "exact", 1e-10),
    # scipy takes the finite distribution of one sample for the limit; it is near for samples of this size.
    ((3000, 1.1, 0.7, 0.0), (2900, 0.9, 0.7, 0.02), "asymp", 0.06),
]

print("[")
for a, b, method, within in CASES:
    found = ks_2samp(sample(*a), sample(*b), method=method)
    x, y = (f"sample({n}, {f}f64, {s}f64, {t}f64)" for n, f, s, t in (a, b))
    print(f"    ({x}, {y}, {found.statistic:.17}, {found.pvalue:.17}, {within}),")
print("]")
