"""Makes crates/imaging/tests/golden/steps: what nnU-Net, MONAI, torchio, GaNDLF, SimpleITK, scikit-image,
scipy, PyTorch and numpy make of small volumes, by their own functions.

    python3 -m venv .venv-steps
    .venv-steps/bin/pip install numpy==2.4.6 scipy==1.17.1 scikit-image==0.26.0 SimpleITK==2.5.7 torch==2.15.0 \
        monai==1.6.1 torchio==1.2.1 nnunetv2==2.8.1
    .venv-steps/bin/pip install --no-deps GANDLF==0.1.5
    .venv-steps/bin/python scripts/golden_steps.py

Each topic is a JSON file of cases and a file of little-endian float32 numbers (bytes for labels); an array in a case is
{"dims": [x, y, z], "at": first number}, x fastest. BrainMaGe is on no registry: its rule is written out here.
"""
import importlib.metadata
import importlib.util
import json
import os
import pathlib
import sys
import types
import warnings

# nnU-Net warns about folders that only training needs.
for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
    os.environ.setdefault(name, "/tmp")
warnings.simplefilter("ignore")

import monai.data.utils as monai_data
import monai.inferers.utils as monai_inferers
import monai.transforms as mt
import numpy as np
import SimpleITK as sitk
import torch
import torchio as tio
import torchio.types
from acvl_utils.cropping_and_padding.padding import pad_nd_image
from monai.data import MetaTensor
from nnunetv2.inference.sliding_window_prediction import compute_gaussian, compute_steps_for_sliding_window
from nnunetv2.postprocessing.remove_connected_components import remove_all_but_largest_component_from_segmentation
from nnunetv2.preprocessing.cropping.cropping import crop_to_nonzero
from nnunetv2.preprocessing.normalization import default_normalization_schemes as nn_norm
from nnunetv2.preprocessing.resampling import default_resampling as nn_resampling
from scipy import ndimage
from skimage import exposure, measure
from torch.nn import functional as F

VERSIONS = {
    "numpy": "2.4.6", "scipy": "1.17.1", "scikit-image": "0.26.0", "SimpleITK": "2.5.7", "torch": "2.15.0",
    "monai": "1.6.1", "torchio": "1.2.1", "nnunetv2": "2.8.1", "GANDLF": "0.1.5",
}
for package, version in VERSIONS.items():
    have = importlib.metadata.version(package).split("+")[0]
    assert have == version, f"{package} {have} instead of {version}"

# The name this module had in the torchio that GaNDLF pins.
sys.modules["torchio.typing"] = torchio.types

OUT = pathlib.Path("crates/imaging/tests/golden/steps")
OUT.mkdir(parents=True, exist_ok=True)
rng = np.random.default_rng(21)


class Topic:
    def __init__(self, name, dtype="<f4"):
        self.name, self.dtype, self.cases, self.numbers = name, np.dtype(dtype), [], []

    def array(self, a):
        """Stores an array; axes are x, y, z in this order."""
        a = np.asarray(a)
        at = sum(len(n) for n in self.numbers)
        self.numbers.append(a.ravel(order="F").astype(self.dtype))
        return {"dims": list(a.shape) + [1] * (3 - a.ndim), "at": at}

    def case(self, kind, **fields):
        fields = {k: self.array(v) if isinstance(v, np.ndarray) and v.ndim > 1 else v for k, v in fields.items()}
        self.cases.append({"kind": kind, **fields})

    def write(self):
        numbers = np.concatenate(self.numbers)
        numbers.tofile(OUT / f"{self.name}.{'f32' if self.dtype.itemsize == 4 else 'u8'}")
        text = ",\n".join(json.dumps(c, default=plain) for c in self.cases)
        (OUT / f"{self.name}.json").write_text(f'{{"versions": {json.dumps(VERSIONS)}, "cases": [\n{text}\n]}}\n')
        print(self.name, len(self.cases), "cases", numbers.nbytes, "bytes")


def plain(v):
    if isinstance(v, np.ndarray):
        return v.tolist()
    return int(v) if isinstance(v, np.integer) else float(v) if isinstance(v, np.floating) else bool(v)


def gandlf(path):
    """A module of GaNDLF by itself: the package as a whole needs fifty others."""
    file = next(f for f in importlib.metadata.files("GANDLF") if str(f) == path).locate()
    spec = importlib.util.spec_from_file_location(pathlib.Path(path).stem, file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def head(dims):
    """A bright ellipsoid with texture on a background of exact zeros."""
    grid = np.meshgrid(*[np.linspace(-1, 1, n) for n in dims], indexing="ij")
    r = sum(g**2 for g in grid)
    v = 300 + 120 * grid[0] - 60 * grid[1] * grid[2] + rng.normal(size=dims) * 25
    return np.where(r < 0.9, v, 0).astype(np.float32)


def tensor(v):
    return torch.as_tensor(v.copy())[None]


def subject(v, mask=None):
    images = dict(image=tio.ScalarImage(tensor=tensor(v)))
    if mask is not None:
        images["mask"] = tio.LabelMap(tensor=tensor(mask.astype(np.float32)))
    return tio.Subject(**images)


def through(transform, v, mask=None):
    return transform(subject(v, mask))["image"].data[0].numpy()


def intensity():
    t = Topic("intensity")
    v = head((9, 8, 7))
    v[4, 4, 3] = -20
    mask = (v > 250) & (rng.random(v.shape) < 0.8)
    t.case("image", image=v, mask=mask.astype(np.float32))

    def nn(name, seg=None, **properties):
        scheme = getattr(nn_norm, name)(use_mask_for_norm=seg is not None, intensityproperties=properties)
        return scheme.run(v.copy(), seg)

    t.case("nnunet", want=nn("ZScoreNormalization"))
    t.case("nnunet masked", want=nn("ZScoreNormalization", np.where(mask, 0, -1)))
    t.case("monai", want=mt.NormalizeIntensity(channel_wise=True)(tensor(v))[0].numpy())
    t.case("monai nonzero", want=mt.NormalizeIntensity(nonzero=True, channel_wise=True)(tensor(v))[0].numpy())
    both = np.stack([v, 3 * v[::-1] + (v[::-1] != 0)])
    pooled = mt.NormalizeIntensity(nonzero=True)(torch.as_tensor(both.copy())).numpy()
    t.case("monai pooled", second=both[1], want=pooled[0], want_second=pooled[1])
    t.case("torchio", want=through(tio.ZNormalization(), v))
    t.case("torchio mean", want=through(tio.ZNormalization(masking_method=tio.ZNormalization.mean), v))
    t.case("torchio mask", want=through(tio.ZNormalization(masking_method="mask"), v, mask))
    t.case("gandlf positive", want=through(tio.ZNormalization(masking_method=lambda x: x > 0), v))
    t.case("gandlf nonzero", want=through(tio.ZNormalization(masking_method=lambda x: x != 0), v))
    masked = gandlf("GANDLF/data/preprocessing/non_zero_normalize.py").NonZeroNormalizeOnMaskedRegion()
    t.case("gandlf nonzero masked", want=through(masked, v))
    clipping = gandlf("GANDLF/data/preprocessing/threshold_and_clip.py")
    t.case("gandlf threshold", low=100, high=320, want=through(clipping.threshold_transform(dict(min=100, max=320)), v))
    t.case("gandlf clip", low=100, high=320, want=through(clipping.clip_transform(dict(min=100, max=320)), v))
    t.case("numpy", want=((v - v.mean(dtype=float)) / v.std(dtype=float, ddof=1)).astype(np.float32))

    numbers = dict(mean=280.0, std=45.0, percentile_00_5=150.0, percentile_99_5=390.0)
    t.case("ct", low=150, high=390, mean=280, deviation=45, want=nn("CTNormalization", **numbers))
    t.case("zero to one", want=nn("RescaleTo01Normalization"))
    t.case("rgb", want=nn_norm.RGBTo01Normalization(False, {}).run(np.abs(v) / 2, None), image=np.abs(v) / 2)

    for q in (0.5, 2, 50, 66.6, 95, 99.5):
        t.case("percentile", q=q, over="all", value=np.percentile(v, q))
        t.case("percentile", q=q, over="nonzero", value=np.percentile(v[v != 0], q))
        t.case("percentile", q=q, over="all", value=torch.quantile(torch.as_tensor(v), q / 100).item())
    for low, high, b, clip, relative in (
        (1, 99, (0, 1), True, False), (5, 90, (-1, 3), False, False), (10, 80, (0, 255), True, True),
        (2, 98, (None, None), False, False), (2, 98, (0, None), True, False), (30, 30, (2, 5), True, False),
    ):
        f = mt.ScaleIntensityRangePercentiles(low, high, *b, clip=clip, relative=relative)
        t.case("monai percentiles", low=low, high=high, b=b, clip=clip, relative=relative, want=f(tensor(v))[0].numpy())
    for low, high in ((1, 99), (20, 60)):
        t.case("monai clip", low=low, high=high, want=mt.ClipIntensityPercentiles(low, high)(tensor(v))[0].numpy())
    for a, b, clip in (((-175, 250), (0, 1), True), ((0, 400), (-1, 1), False), ((50, 50), (7, 9), True),
                       ((0, 200), (None, 1), True)):
        f = mt.ScaleIntensityRange(*a, *b, clip=clip)
        t.case("monai range", a=a, b=b, clip=clip, want=f(tensor(v))[0].numpy())
    for low, high in ((0, 1), (-1, 1), (2, 50)):
        t.case("monai scale", low=low, high=high, want=mt.ScaleIntensity(low, high)(tensor(v))[0].numpy())
    flat = np.full((3, 2, 2), 4, np.float32)
    t.case("monai scale", image=flat, low=2, high=50, want=mt.ScaleIntensity(2, 50)(tensor(flat))[0].numpy())
    for source, target in (((100, 350), (0, 1)), ((0, 300), (-1, 2)), ((20, 20), (0, 1))):
        with np.errstate(all="ignore"):
            want = exposure.rescale_intensity(v, in_range=source, out_range=target)
        t.case("skimage", a=source, b=target, want=want.astype(np.float32))
    for percentiles, method, source, target in (
        ((0, 100), None, None, (0, 1)), ((0.5, 99.5), None, None, (-1, 1)),
        ((5, 95), "mask", None, (0, 1)), ((1, 99), None, (50, 400), (0, 10)), ((0, 60), "mask", None, (0, 1)),
    ):
        f = tio.RescaleIntensity(target, percentiles, method, source)
        t.case("torchio rescale", percentiles=percentiles, masked=method is not None, a=source, b=target,
               want=through(f, v, mask))
    # BrainMaGe, utils/utils_test.py: process_image.
    above = v[v >= v.mean()]
    p1, p2 = np.percentile(above, 2), np.percentile(above, 95)
    t.case("brainmage", want=((np.minimum(v, p2) - p1) / p2).astype(np.float32))
    t.write()


def histogram():
    t = Topic("histogram")
    v, other = head((9, 8, 7)), (head((8, 9, 6)) * 0.01) ** 2
    t.case("image", image=v, reference=other)
    t.case("skimage", want=exposure.match_histograms(v, other).astype(np.float32))
    rounded, few = np.round(v / 40), np.round(other)
    t.case("skimage", image=rounded, reference=few, want=exposure.match_histograms(rounded, few).astype(np.float32))
    landmarks = np.array([0, 2.5, 6, 12, 25, 31, 40, 55, 66, 70, 80, 93, 100.0])
    for name, method in (("all", None), ("nonzero", lambda x: x != 0)):
        f = tio.HistogramStandardization({"image": landmarks}, masking_method=method)
        t.case("torchio", landmarks=landmarks, over=name, want=through(f, v))
    for levels, points, threshold in ((256, 7, True), (1024, 16, True), (64, 1, False)):
        got = sitk.HistogramMatching(image(v), image(other), levels, points, threshold)
        t.case("simpleitk", levels=levels, points=points, threshold=threshold, want=array(got))
    t.write()


def image(v, spacing=(1, 1, 1)):
    """A SimpleITK image of an array with axes x, y, z."""
    out = sitk.GetImageFromArray(np.ascontiguousarray(np.asarray(v, np.float32).transpose(2, 1, 0)))
    out.SetSpacing([float(s) for s in spacing])
    return out


def array(i):
    return sitk.GetArrayFromImage(i).transpose(2, 1, 0)


def crop():
    t = Topic("crop")
    a, b = np.zeros((12, 10, 9), np.float32), np.zeros((12, 10, 9), np.float32)
    a[3:8, 2:7, 2:6] = rng.normal(size=(5, 5, 4)) + 9
    a[4:6, 4, 3:5] = 0
    b[6:10, 5:8, 4:7] = -2
    b[11, 0, 3] = 1
    for channels in ((a,), (a, b), (0 * a,), (a[:, :, 3:4],)):
        _, seg, box = crop_to_nonzero(np.stack(channels))
        t.case("nnunet", channels=[t.array(c) for c in channels], start=[x[0] for x in box], end=[x[1] for x in box],
               mask=(seg[0] == 0).astype(np.float32))
    for channels, margin, smaller, k in (
        ((a,), 0, False, 1), ((a, b), (1, 2, 3), False, 1), ((a, b), (1, 2, 3), True, 1), ((b,), 0, False, (4, 3, 8)),
        ((a,), 5, True, 4),
    ):
        f = mt.CropForeground(margin=margin, allow_smaller=smaller, k_divisible=k, return_coords=True)
        got, start, end = f(torch.as_tensor(np.stack(channels)))
        three = lambda x: list(x) if isinstance(x, tuple) else [x] * 3
        t.case("monai", channels=[t.array(c) for c in channels], margin=three(margin), smaller=smaller,
               divisible=three(k), start=np.asarray(start).tolist(), end=np.asarray(end).tolist(), want=got[0].numpy())
    t.write()


def pad():
    t = Topic("pad")
    v = np.arange(4 * 3 * 2, dtype=np.float32).reshape(4, 3, 2) + 1
    t.case("image", image=v)
    for mode in ("constant", "edge", "reflect", "symmetric"):
        for before, after in (((1, 2, 0), (2, 0, 1)), ((7, 5, 3), (9, 6, 2))):
            want = np.pad(v, list(zip(before, after)), mode, **({"constant_values": -5} if mode == "constant" else {}))
            t.case("numpy", mode=mode, before=before, after=after, want=want)
    one = v[:, :, :1]
    t.case("numpy", image=one, mode="reflect", before=(2, 0, 1), after=(0, 1, 3),
           want=np.pad(one, ((2, 0), (0, 1), (1, 3)), "reflect"))
    big = np.ones((34, 55, 16), np.float32)
    for minimum, multiple in (((96, 64, 16), 1), ((40, 40, 40), (16, 8, 32)), ((34, 55, 17), (1, 1, 2))):
        k = [multiple] * 3 if isinstance(multiple, int) else list(multiple)
        got, slices = pad_nd_image(big, minimum, "constant", {}, True, k)
        before = [s.start for s in slices]
        t.case("amounts", dims=big.shape, minimum=minimum, multiple=k, place="centre", before=before,
               after=[n - b - d for n, b, d in zip(got.shape, before, big.shape)])
    for name, place, f in (
        ("SpatialPad", "centre", mt.SpatialPad((41, 50, 17))), ("SpatialPad", "end", mt.SpatialPad((41, 50, 17), method="end")),
    ):
        widths = f.compute_pad_width(big.shape)[1:]
        t.case("amounts", dims=big.shape, minimum=(41, 50, 17), multiple=(1, 1, 1), place=place,
               before=[w[0] for w in widths], after=[w[1] for w in widths])
    widths = mt.DivisiblePad((16, 32, 7)).compute_pad_width(big.shape)[1:]
    t.case("amounts", dims=big.shape, minimum=(0, 0, 0), multiple=(16, 32, 7), place="centre",
           before=[w[0] for w in widths], after=[w[1] for w in widths])
    six = tio.CropOrPad((41, 60, 17))._compute_cropping_padding_from_shapes(big.shape, (41, 60, 17))[0]
    t.case("amounts", dims=big.shape, minimum=(41, 60, 17), multiple=(1, 1, 1), place="centre odd first",
           before=six[::2], after=six[1::2])
    t.write()


def separate():
    t = Topic("separate")
    v = head((11, 9, 5)) + rng.normal(size=(11, 9, 5)).astype(np.float32)
    t.case("image", image=v)
    for axis in range(3):
        a = np.moveaxis(v, 2, axis)
        for to in ((17, 7, 8), (11, 9, 12), (6, 13, 3), (14, 12, 5)):
            shape = np.insert(np.array(to[:2]), axis, to[2])
            for order, across in ((3, 0), (1, 0)) + (((1, 1), (3, 3)) if axis == 2 and to[2] == 8 else ()):
                got = nn_resampling.resample_data_or_seg(a[None].astype(np.float32), shape, False, axis, order, True, across)
                t.case("separate", axis=axis, order=order, across=across, to=shape, want=got[0])
    got = nn_resampling.resample_data_or_seg(v[None], (15, 14, 9), False, None, 3, False, 0)
    t.case("together", to=(15, 14, 9), order=3, want=got[0])
    thick = [
        ((5, 0.5, 0.5), (1, 1, 1)), ((1, 1, 1), (0.8, 0.8, 5)), ((1, 1, 3), (1, 1, 1)), ((1, 1, 3.01), (1, 1, 1)),
        ((0.24, 1.25, 1.25), (1, 1, 1)), ((1, 4, 1), (1, 1, 5)), ((0.5, 0.5, 0.5), (0.24, 1.25, 1.25)), ((1, 2, 3), (3, 2, 1)),
    ]
    for a, b in thick:
        do, axis = nn_resampling.determine_do_sep_z_and_axis(None, a, b, 3)
        t.case("axis", a=a, b=b, axis=int(axis) if do else None)
    t.write()


def resample():
    t = Topic("resample")
    v = head((8, 7, 6)) + rng.normal(size=(8, 7, 6)).astype(np.float32)
    t.case("image", image=v)
    for to in ((12, 5, 9), (4, 7, 13), (1, 14, 3)):
        zoom = [m / n for m, n in zip(to, v.shape)]
        for order, mode in ((0, "constant"), (1, "constant"), (3, "mirror"), (3, "nearest"), (1, "nearest")):
            got = ndimage.zoom(v, zoom, order=order, mode=mode)
            assert got.shape == to
            t.case("zoom", to=to, order=order, mode=mode, want=got)
        for mode, corners in (("trilinear", False), ("trilinear", True), ("nearest", None), ("nearest-exact", None)):
            got = F.interpolate(torch.as_tensor(v)[None, None], size=to, mode=mode, align_corners=corners)
            t.case("torch", to=to, mode=mode, corners=corners, want=got[0, 0].numpy())
    for mode, corners in (("bilinear", False), ("bilinear", True)):
        got = F.interpolate(torch.as_tensor(v[:, :, 2])[None, None], size=(13, 5), mode=mode, align_corners=corners)
        t.case("torch", to=(13, 5, 1), mode=mode, corners=corners, image=v[:, :, 2:3], want=got[0, 0].numpy())
    t.write()


def spacing():
    t = Topic("spacing")
    v = head((9, 8, 6)) + rng.normal(size=(9, 8, 6)).astype(np.float32)
    t.case("image", image=v)
    # Places half-way between two voxels are left out: with MONAI it is rounding noise which one they get.
    pairs = [((1, 1, 1), (0.71, 1.31, 0.53)), ((0.9, 0.9, 3), (1, 1, 1)), ((1.1, 0.8, 2.2), (2.5, 0.61, 1.7))]
    for old, new in pairs:
        affine = np.diag([*old, 1.0])
        affine[:3, 3] = (-7, 11, 3)
        for mode in ("bilinear", "nearest"):
            f = mt.Spacing(pixdim=new, mode=mode, padding_mode="border")
            got = f(MetaTensor(torch.as_tensor(v)[None], affine=affine))
            t.case("monai", old=old, new=new, order=int(mode == "bilinear"), affine=np.asarray(got.affine)[:3].tolist(),
                   want=got[0].numpy())
        for mode, order in (("nearest", 0), ("linear", 1), ("bspline", 3)):
            moved = tio.ScalarImage(tensor=torch.as_tensor(v)[None], affine=affine)
            got = tio.Resample(new, image_interpolation=mode)(moved)
            t.case("torchio", old=old, new=new, order=order, affine=got.affine[:3].tolist(), want=got.data[0].numpy())
        # The rule of torchio 0.19.6, which GaNDLF pins, is also its resample_min's; that never enlarges a spacing.
        f = gandlf("GANDLF/data/preprocessing/resample_minimum.py").Resample_Minimum()
        f.target = [min(a, b) for a, b in zip(old, new)]
        got = f(tio.ScalarImage(tensor=torch.as_tensor(v)[None], affine=affine))
        t.case("gandlf", old=old, new=f.target, order=1, affine=got.affine[:3].tolist(), want=got.data[0].numpy())
        size = [int(round(n * a / b)) for n, a, b in zip(v.shape, old, new)]
        for interpolator, order in ((sitk.sitkNearestNeighbor, 0), (sitk.sitkLinear, 1), (sitk.sitkBSpline, 3)):
            i = image(v, old)
            got = sitk.Resample(i, size, sitk.Transform(), interpolator, i.GetOrigin(), new, i.GetDirection(), 0.0)
            t.case("simpleitk", old=old, new=new, order=order, want=array(got))
    shapes = [((320, 320, 20), (0.625, 0.625, 6.0), (0.5, 0.5, 3.3)), ((181, 217, 181), (1, 1, 1), (1.5, 0.7, 2)),
              ((5, 7, 9), (1, 1, 1), (2, 2, 2)), ((1, 33, 64), (4, 1, 0.9), (1, 3, 1.1))]
    for dims, old, new in shapes:
        affine = np.diag([*old, 1.0])
        monai_shape, _ = monai_data.compute_shape_offset(dims, affine, np.diag([*new, 1.0]))
        reference = tio.Resample.get_reference_image(blank(dims, old), new)
        t.case("shape", dims=dims, old=old, new=new, nnunet=nn_resampling.compute_new_shape(dims, old, new),
               monai=monai_shape, torchio=reference.GetSize(),
               zoom=[int(round(n * z)) for n, z in zip(dims, np.divide(old, new))])
    t.write()


def blank(dims, old):
    out = sitk.Image([int(n) for n in dims], sitk.sitkUInt8)
    out.SetSpacing([float(s) for s in old])
    return out


def labels():
    t = Topic("labels", "u1")
    dims = (14, 12, 10)
    noise = ndimage.gaussian_filter(rng.normal(size=dims), 1.0)
    seg = np.digitize(noise, [0.02, 0.13, 0.2]).astype(np.int16)
    t.case("image", image=seg)
    for of in ([1], [2], [3], [1, 3], [1, 2, 3]):
        got = remove_all_but_largest_component_from_segmentation(seg, list(of))
        t.case("nnunet largest", labels=of, want=got)
    twins = np.zeros((7, 3, 3), np.int16)
    twins[0:2], twins[5:7], twins[3, 1, 1] = 1, 1, 1
    t.case("nnunet largest", image=twins, labels=[1],
           want=remove_all_but_largest_component_from_segmentation(twins, [1]))
    for connectivity in (1, 2, 3):
        numbered = measure.label(seg > 0, connectivity=connectivity)
        sizes = np.bincount(numbered.ravel())
        for least in (2, 5, 40):
            keep = sizes >= least
            keep[0] = True
            t.case("small", connectivity=connectivity, least=least, labels=[1, 2, 3],
                   want=np.where(keep[numbered], seg, 0))
        of = seg == 2
        numbered = measure.label(of, connectivity=connectivity)
        largest = numbered == np.argmax(np.bincount(numbered.ravel())[1:]) + 1
        t.case("largest", connectivity=connectivity, labels=[2], want=np.where(of & ~largest, 0, seg))
    flat = seg[:, :, 4:5]
    for connectivity in (1, 2):
        numbered = measure.label(flat[:, :, 0] > 0, connectivity=connectivity)
        largest = numbered == np.argmax(np.bincount(numbered.ravel())[1:]) + 1
        t.case("largest", image=flat, connectivity=connectivity, labels=[1, 2, 3],
               want=np.where(largest[:, :, None], flat, 0))
    for of in (1, 2):
        mask = seg == of
        fill = lambda m: np.where(m & (seg == 0), of, seg)
        t.case("holes", label=of, axis=None, want=fill(ndimage.binary_fill_holes(mask)))
        for axis in range(3):
            slices = [ndimage.binary_fill_holes(s) for s in np.moveaxis(mask, axis, 0)]
            t.case("holes", label=of, axis=axis, want=fill(np.moveaxis(np.stack(slices), 0, axis)))
    operations = dict(dilate=ndimage.binary_dilation, erode=ndimage.binary_erosion, open=ndimage.binary_opening,
                      close=ndimage.binary_closing)
    mask = ndimage.gaussian_filter(noise, 0.7) > 0.03
    t.case("mask", image=mask)
    for name, f in operations.items():
        for full in (False, True):
            for times in (1, 2):
                got = f(mask, ndimage.generate_binary_structure(3, 3 if full else 1), iterations=times)
                t.case("morphology", operation=name, full=full, times=times, axes=[True] * 3, border=False,
                       want=got)
        # Slice by slice, as in two dimensions.
        got = np.stack([f(mask[:, :, z]) for z in range(dims[2])], 2)
        t.case("morphology", operation=name, full=False, times=1, axes=[True, True, False], border=False,
               want=got)
    for times in (1, 2):
        got = ndimage.binary_erosion(mask, iterations=times, border_value=1)
        t.case("morphology", operation="erode", full=False, times=times, axes=[True] * 3, border=True,
               want=got)
    post = gandlf_morphology()
    for name, mode in (("dilate", "dilation"), ("erode", "erosion"), ("open", "opening"), ("close", "closing")):
        got = post(torch.as_tensor(mask.astype(np.float32))[None, None], 3, mode)[0, 0].numpy()
        t.case("morphology", operation=name, full=True, times=1, axes=[True] * 3, border=True, want=got)
    t.write()


def gandlf_morphology():
    """GaNDLF's torch_morphological, whose module imports one helper that it does not use for this."""
    for name in ("GANDLF", "GANDLF.utils", "GANDLF.utils.generic"):
        sys.modules.setdefault(name, types.ModuleType(name))
    sys.modules["GANDLF.utils.generic"].get_array_from_image_or_tensor = None
    return gandlf("GANDLF/data/post_process/morphology.py").torch_morphological


def windows():
    t = Topic("windows")
    for size, window, overlap in (
        ((256, 205, 128), (128, 128, 128), 0.5), ((110, 64, 300), (64, 64, 96), 0.25), ((90, 101, 77), (33, 20, 31), 0.7),
        ((45, 46, 47), (16, 16, 16), 0.0),
    ):
        steps = compute_steps_for_sliding_window(size, window, 1 - overlap)
        interval = monai_inferers._get_scan_interval(size, window, 3, (overlap,) * 3)
        slices = monai_data.dense_patch_slices(size, window, interval)
        monai_starts = [sorted({s[d].start for s in slices}) for d in range(3)]
        t.case("starts", size=size, window=window, overlap=overlap, nnunet=steps, monai=monai_starts)
    for size, window, overlap in (((40, 41, 30), (16, 12, 30), (4, 6, 0)), ((33, 20, 64), (32, 20, 10), (16, 2, 8))):
        sampler = tio.GridSampler(subject(np.zeros(size, np.float32)), window, overlap)
        t.case("grid", size=size, window=window, overlap=overlap,
               starts=[sorted(set(sampler.locations[:, d].tolist())) for d in range(3)])
    for window in ((16, 12, 9), (7, 10, 1)):
        for sigma, peak in ((1 / 8, 10), (1 / 8, 1), (0.06, 1)):
            got = compute_gaussian(window, sigma, peak, torch.float32, torch.device("cpu"))
            t.case("nnunet", sigma=sigma, peak=peak, want=got.numpy())
        got = compute_gaussian(window, 1 / 8, 10, torch.float16, torch.device("cpu"))
        t.case("nnunet half", sigma=1 / 8, peak=10, want=got.float().numpy())
        for sigma in (0.125, 0.3):
            got = monai_data.compute_importance_map(window, "gaussian", sigma)
            t.case("monai", sigma=sigma, want=got.numpy())
        t.case("constant", want=monai_data.compute_importance_map(window, "constant").numpy())
        t.case("hann", want=tio.GridAggregator._get_hann_window(window).numpy())
    t.write()


for topic in (intensity, histogram, crop, pad, separate, resample, spacing, labels, windows):
    topic()
