#!/usr/bin/env python3
"""Fits tanh(x/2) by a quotient x·P(x²)/Q(x²) for |x| <= 17 with the least relative error (an iteratively
reweighted least-squares fit of the linearized quotient) and prints the coefficients that
crates/kernels/src/simd/math.rs holds, lowest first, and the error. Needs NumPy."""
import numpy as np

LIMIT, TOP, BOTTOM, ROUNDS = 17.0, 3, 4, 200

nodes = np.arange(4000)
x = LIMIT * (1 - np.cos(np.pi * (nodes + 0.5) / 4000)) / 2
x = x[x > 1e-4]
target, u = np.tanh(x / 2) / x, (x / LIMIT) ** 2
weight, below, best = np.ones_like(u), np.ones_like(u), None
for _ in range(ROUNDS):
    columns = [u**i for i in range(TOP + 1)] + [-target * u**j for j in range(1, BOTTOM + 1)]
    scaled = weight / (target * below)
    c, *_ = np.linalg.lstsq(np.stack(columns, 1) * scaled[:, None], target * scaled, rcond=None)
    p, q = c[: TOP + 1], np.concatenate([[1], c[TOP + 1 :]])
    value = np.polyval(p[::-1], u) / np.polyval(q[::-1], u)
    below = np.abs(np.polyval(q[::-1], u))
    error = np.abs(value - target) / target
    if best is None or error.max() < best[0]:
        best = error.max(), p, q
    weight *= (error / error.max() + 1e-3) ** 0.3
    weight /= weight.max()
for name, c in zip("PQ", best[1:]):
    print(name, [np.float32(v) for v in c / LIMIT ** (2 * np.arange(len(c)))])
print("relative error", best[0])
