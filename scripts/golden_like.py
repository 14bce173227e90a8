"""Golden values of medpy, MONAI and surface-distance for `evaluate --like`, in crates/eval/tests/golden/like.json.

    python3 -m venv .venv-evidence
    .venv-evidence/bin/pip install numpy==2.2.1 scipy==1.15.0 medpy==0.5.2 surface-distance==0.1 torch==2.5.1 monai==1.4.0   # any torch will do
    .venv-evidence/bin/python scripts/golden_like.py
"""
import json, pathlib, warnings
import numpy as np

warnings.filterwarnings("ignore")
# surface-distance 0.1 says infinity by a name that numpy 2 dropped.
np.Inf = np.inf
rng = np.random.default_rng(6)


def blob(dims, centre, radius, spacing):
    grid = np.stack(np.meshgrid(*[np.arange(n) for n in dims], indexing="ij"), -1)
    return (((grid - centre) * spacing) ** 2).sum(-1) < radius**2


def cases():
    volume, picture = (14, 12, 9), (24, 18)
    s3, s2 = np.array([1.0, 1.5, 2.0]), np.array([1.0, 1.0])
    a = blob(volume, (6, 5, 4), 5, s3)
    b = blob(volume, (7, 6, 4), 5, s3)
    yield "moved", a, b, s3
    yield "same", a, a, s3
    yield "at the border", blob(volume, (0, 0, 0), 6, s3), blob(volume, (1, 0, 1), 6, s3), s3
    yield "noise", rng.random(volume) < 0.2, rng.random(volume) < 0.25, s3
    yield "none predicted", a & False, b, s3
    yield "none true", a, b & False, s3
    yield "none at all", a & False, b & False, s3
    yield "picture", blob(picture, (10, 8), 6, s2), blob(picture, (12, 9), 5, s2), s2
    yield "picture, oblong pixels", blob(picture, (10, 8), 6, s2), blob(picture, (11, 9), 6, s2), np.array([0.5, 2.0])


def value(f):
    try:
        v = float(f())
    except Exception:
        return None
    return None if np.isnan(v) else ("inf" if np.isinf(v) else v)


def medpy(p, t, s):
    from medpy.metric import binary as m
    out = {k: value(lambda k=k: getattr(m, k)(p, t)) for k in ["dc", "jc", "precision", "recall", "ravd"]}
    out |= {k: value(lambda k=k: getattr(m, k)(p, t, voxelspacing=s)) for k in ["hd", "hd95", "asd", "assd"]}
    return out


def monai(p, t, s):
    import torch
    import monai.metrics as m
    x, y = [torch.tensor(v[None, None].astype(np.float32)) for v in (p, t)]
    kw = {"include_background": True}
    s = [float(v) for v in s]
    return {
        "dice": value(lambda: m.compute_dice(x, y, **kw)),
        "iou": value(lambda: m.compute_iou(x, y, **kw)),
        "hausdorff": value(lambda: m.compute_hausdorff_distance(x, y, spacing=s, **kw)),
        "hausdorff95": value(lambda: m.compute_hausdorff_distance(x, y, percentile=95, spacing=s, **kw)),
        "surface_distance": value(lambda: m.compute_average_surface_distance(x, y, symmetric=True, spacing=s, **kw)),
        "surface_dice_1mm": value(lambda: m.compute_surface_dice(x, y, [1.0], spacing=s, **kw)),
    }


def surface_distance(p, t, s):
    import surface_distance as m
    d = m.compute_surface_distances(t, p, s)
    return {
        "robust_hausdorff95": value(lambda: m.compute_robust_hausdorff(d, 95)),
        "surface_dice_1mm": value(lambda: m.compute_surface_dice_at_tolerance(d, 1)),
        "average_distance_gt_to_pred": value(lambda: m.compute_average_surface_distance(d)[0]),
        "average_distance_pred_to_gt": value(lambda: m.compute_average_surface_distance(d)[1]),
    }


out = []
for name, p, t, s in cases():
    values = {"medpy": medpy(p, t, s), "monai": monai(p, t, s), "surface-distance": surface_distance(p, t, s)}
    flat = lambda m: m.astype(int).flatten(order="F").tolist()
    dims, spacing = list(p.shape) + [1] * (3 - p.ndim), list(map(float, s)) + [1.0] * (3 - p.ndim)
    out.append({"name": name, "dims": dims, "spacing": spacing, "p": flat(p), "t": flat(t), "values": values})
path = pathlib.Path(__file__).parents[1] / "crates/eval/tests/golden/like.json"
path.write_text(json.dumps(out) + "\n")
