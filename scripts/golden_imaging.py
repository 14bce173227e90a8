"""Makes crates/imaging/tests/golden: what nibabel, scipy and scikit-image say about small volumes.

    .venv/bin/python scripts/golden_imaging.py crates/imaging/tests/golden

scripts/oracles.sh makes the environment. The same versions give the same files.
"""
import itertools
import json
import pathlib
import sys
import warnings

import nibabel as nib
import numpy as np
from scipy import ndimage
from skimage.transform import resize

out = pathlib.Path(sys.argv[1])
out.mkdir(parents=True, exist_ok=True)
warnings.simplefilter("ignore")
rng = np.random.default_rng(7)


def flat(a):
    """x fastest, as NIfTI stores."""
    return [float(v) for v in np.asarray(a, dtype=np.float64).ravel(order="F")]


# NIfTI: every type, both byte orders, both versions, slopes, forms.
files = []
base = rng.integers(0, 100, (4, 3, 5))
affine = np.array([[0, -1.1, 0, 10], [0.9, 0, 0, -20], [0, 0, 2.0, 5], [0, 0, 0, 1]], dtype=float)
for cls, order, dtype in itertools.product(
    (nib.Nifti1Image, nib.Nifti2Image), "<>", "u1 i1 i2 u2 i4 u4 i8 u8 f4 f8".split()
):
    header = cls.header_class(endianness=order)
    header.set_data_dtype(np.dtype(dtype))
    image = cls(base.astype(dtype), affine, header)
    image.set_sform(affine, 1)
    image.set_qform(affine, 2)
    if dtype == "i2":
        image.header.set_slope_inter(0.5, -3)
    version = 1 if cls is nib.Nifti1Image else 2
    name = f"v{version}_{'le' if order == '<' else 'be'}_{dtype}.nii"
    nib.save(image, out / name)
    back = nib.load(out / name)
    files.append(
        dict(file=name, affine=back.affine[:3].tolist(), axes="".join(nib.aff2axcodes(back.affine)),
             zooms=[float(z) for z in back.header.get_zooms()[:3]], values=flat(back.get_fdata()))
    )

# Orientation from qform alone, oblique, half turn, and no form at all.
angles = [(0.3, -0.2, 0.9), (np.pi, 0, 0), (0.01, 2.9, 1.0)]
for i, (a, b, c) in enumerate(angles):
    rx = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    ry = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
    rz = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
    m = np.eye(4)
    m[:3, :3] = rx @ ry @ rz @ np.diag([1.5, 0.8, -2.2])
    m[:3, 3] = [1, -2, 3]
    image = nib.Nifti1Image(base.astype("u1"), None)
    image.set_qform(m, 1)
    image.set_sform(None, 0)
    name = f"qform_{i}.nii"
    nib.save(image, out / name)
    back = nib.load(out / name)
    files.append(
        dict(file=name, affine=back.affine[:3].tolist(), axes="".join(nib.aff2axcodes(back.affine)),
             zooms=[float(z) for z in back.header.get_zooms()[:3]], values=flat(back.get_fdata()))
    )

# Resampling.
volume = (rng.normal(size=(13, 10, 8)) * 40 + 100).astype(np.float32)
volume += np.linspace(0, 50, 13, dtype=np.float32)[:, None, None]
cases = []
for shape in ((9, 15, 8), (20, 7, 5), (4, 4, 4)):
    for order, mode, aa in ((0, "edge", False), (1, "edge", False), (3, "edge", False), (1, "constant", True)):
        got = resize(volume, shape, order=order, mode=mode, anti_aliasing=aa)
        cases.append(dict(shape=shape, order=order, mode=mode, anti_aliasing=aa, values=flat(got)))
resampling = dict(dims=volume.shape, values=flat(volume), cases=cases)

# Importance maps: a delta through scipy's filter is what nnU-Net uses.
tile = (16, 12, 9)
delta = np.zeros(tile)
delta[tuple(t // 2 for t in tile)] = 1
g = ndimage.gaussian_filter(delta, [t / 8 for t in tile], 0, mode="constant", cval=0)
g /= g.max()
g[g == 0] = g[g != 0].min()
window = dict(tile=tile, nnunet=flat(g))

# Regions and distances.
mask = rng.random((9, 8, 7)) < 0.3
full = ndimage.generate_binary_structure(3, 3)
labels, n = ndimage.label(mask, full)
largest = labels == (np.argmax(np.bincount(labels.ravel())[1:]) + 1)
filled = ndimage.binary_fill_holes(largest)
other = np.roll(filled, 1, 0) | (rng.random(filled.shape) < 0.02)
spacing = [0.9, 1.3, 2.0]


def surface(m):
    return m & ~ndimage.binary_erosion(m)


def directed(a, b):
    return ndimage.distance_transform_edt(~surface(b), spacing)[surface(a)]


d1, d2 = directed(filled, other), directed(other, filled)
regions = dict(
    dims=mask.shape, mask=flat(mask), components=int(n), largest=flat(largest), filled=flat(filled), other=flat(other),
    spacing=spacing, hd95=float(max(np.percentile(d1, 95), np.percentile(d2, 95))),
    dice=float(2 * (filled & other).sum() / (filled.sum() + other.sum())),
    surface_dice=float(((d1 <= 1).sum() + (d2 <= 1).sum()) / (d1.size + d2.size)),
    assd=float((d1.sum() + d2.sum()) / (d1.size + d2.size)),
)
versions = {m.__name__: m.__version__ for m in (nib, np)}
json.dump(
    dict(versions=versions, files=files, resampling=resampling, window=window, regions=regions),
    open(out / "golden.json", "w"),
)
