#!/usr/bin/env python3
"""Fits x·P(x²)/Q(x²) to tanh(x/2) for |x| <= 17 (least relative error) and to erf(x) for |x| <= 4 (least absolute
error) by iteratively reweighted least squares of the linearized quotient, and prints the coefficients that
crates/kernels/src/simd/math.rs holds, lowest first, and the error. Needs NumPy."""
from math import erf

import numpy as np


def fit(name, function, limit, top, bottom, relative, rounds, power, floor):
    x = limit * (1 - np.cos(np.pi * (np.arange(4000) + 0.5) / 4000)) / 2
    x = x[x > 1e-4]
    target, u = function(x) / x, (x / limit) ** 2
    # What the error of the quotient is measured in.
    unit = target if relative else 1 / x
    weight, below, best = np.ones_like(u), np.ones_like(u), None
    for _ in range(rounds):
        columns = [u**i for i in range(top + 1)] + [-target * u**j for j in range(1, bottom + 1)]
        scaled = weight / (unit * below)
        c, *_ = np.linalg.lstsq(np.stack(columns, 1) * scaled[:, None], target * scaled, rcond=None)
        p, q = c[: top + 1], np.concatenate([[1], c[top + 1 :]])
        value = np.polyval(p[::-1], u) / np.polyval(q[::-1], u)
        below = np.abs(np.polyval(q[::-1], u))
        error = np.abs(value - target) / unit
        if best is None or error.max() < best[0]:
            best = error.max(), p, q
        weight *= (error / error.max() + floor) ** power
        weight /= weight.max()
    print(name, "relative" if relative else "absolute", "error", best[0])
    for part, c in zip("PQ", best[1:]):
        print(part, [np.float32(v) for v in c / limit ** (2 * np.arange(len(c)))])


fit("tanh(x/2)", lambda x: np.tanh(x / 2), 17.0, 3, 4, True, 200, 0.3, 1e-3)
fit("erf(x)", np.vectorize(erf), 4.0, 5, 5, False, 60, 0.5, 0.05)
