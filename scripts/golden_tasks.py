"""Whole tasks, from files to files, against the frameworks' own functions: `ampoule run` with a recipe has to find the
labels and probabilities that nnU-Net, MONAI, torchvision and PyTorch find with the same network.

    python3 -m venv .venv-steps
    .venv-steps/bin/pip install numpy==2.4.6 scipy==1.17.1 scikit-image==0.26.0 nibabel==5.4.2 pillow==13.0.0 \
        torch==2.15.0 torchvision==0.29.2 monai==1.6.1 nnunetv2==2.8.1 onnx==1.23.2
    .venv-steps/bin/python scripts/golden_tasks.py AMPOULE_BINARY [TASK…] [--keep DIR]

Networks are small and have random weights of a fixed seed; images are made here. Without TASK all are run, in a
temporary folder, or in DIR, which stays. One line a task; the exit code is 1 where labels differ in more than 0.01 % of
the voxels, or a probability by more than 0.001 (of what PNG files hold: beyond their rounding).

nnU-Net's own accumulation in float16 is left out: it is done in float32 here, with its functions for all else.
"""
import argparse
import csv
import importlib.metadata
import itertools
import os
import pathlib
import subprocess
import sys
import tempfile
import time
import warnings

# nnU-Net warns about folders that only training needs.
for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
    os.environ.setdefault(name, tempfile.gettempdir())
warnings.simplefilter("ignore")

import monai.transforms as mt
import nibabel as nib
import numpy as np
import torch
from acvl_utils.cropping_and_padding.padding import pad_nd_image
from monai.data import MetaTensor
from monai.inferers import SliceInferer, sliding_window_inference
from monai.networks.nets import BasicUNet, DenseNet, SegResNet
from nnunetv2.inference.sliding_window_prediction import compute_gaussian, compute_steps_for_sliding_window
from nnunetv2.preprocessing.cropping.cropping import crop_to_nonzero
from nnunetv2.preprocessing.normalization.default_normalization_schemes import CTNormalization
from nnunetv2.preprocessing.resampling.default_resampling import compute_new_shape, resample_data_or_seg_to_shape
from PIL import Image
from scipy import ndimage
from torch import nn
from torchvision import transforms as tv

VERSIONS = {
    "numpy": "2.4.6", "scipy": "1.17.1", "scikit-image": "0.26.0", "nibabel": "5.4.2", "pillow": "13.0.0",
    "torch": "2.15.0", "torchvision": "0.29.2", "monai": "1.6.1", "nnunetv2": "2.8.1", "onnx": "1.23.2",
}
LABELS, PROBABILITY = 99.99, 1e-3


class Calibrated(nn.Module):
    """A network whose channels have mean 0 and deviation 2 over an example, so that all labels occur."""

    def __init__(self, net, example, spread=2.0):
        super().__init__()
        self.net = net.eval()
        with torch.no_grad():
            out = net(example)
        axes = [a for a in range(out.ndim) if a != 1]
        self.register_buffer("mean", out.mean(axes, keepdim=True))
        self.register_buffer("gain", spread / out.std(axes, keepdim=True))
        # Exporting leaves a module in the mode that it was in.
        self.eval()

    def forward(self, x):
        return (self.net(x) - self.mean) * self.gain


class Conv3d(nn.Module):
    """In the manner of nnU-Net's plain networks: convolution, instance norm, leaky ReLU; one level down and up."""

    def __init__(self, channels, classes, n=8):
        super().__init__()
        block = lambda a, b, kernel, stride: nn.Sequential(
            nn.Conv3d(a, b, kernel, stride, [k // 2 for k in kernel]), nn.InstanceNorm3d(b, affine=True),
            nn.LeakyReLU(0.01))
        self.first = block(channels, n, (1, 3, 3), 1)
        self.down = nn.Sequential(block(n, 2 * n, (3, 3, 3), (1, 2, 2)), block(2 * n, 2 * n, (3, 3, 3), 1))
        self.up = nn.ConvTranspose3d(2 * n, n, (1, 2, 2), (1, 2, 2))
        self.last = nn.Sequential(block(2 * n, n, (3, 3, 3), 1), nn.Conv3d(n, classes, 1))

    def forward(self, x):
        a = self.first(x)
        return self.last(torch.cat([a, self.up(self.down(a))], 1))


def noise(rng, dims, sigma):
    """Smooth noise of deviation 1."""
    v = ndimage.gaussian_filter(rng.normal(size=dims), sigma)
    return v / v.std()


def ball(dims, radius=0.9):
    grid = np.meshgrid(*[np.linspace(-1, 1, n) for n in dims], indexing="ij")
    return sum(g**2 for g in grid) < radius**2


def export(net, dims, path, free=()):
    """Writes a network that takes `dims`, of which the axes `free` may be of any size."""
    axes = {i: f"d{i}" for i in free}
    torch.onnx.export(net, torch.zeros(dims), str(path), input_names=["image"], output_names=["logits"],
                      dynamic_axes={"image": axes, "logits": axes} if axes else None, dynamo=False, opset_version=17)


class Task:
    def __init__(self, binary, folder, name):
        self.binary, self.folder, self.name = binary, folder, name
        self.cases, self.out = folder / "cases", folder / "out"
        self.cases.mkdir(parents=True, exist_ok=True)
        self.model = folder / "model.onnx"

    def volume(self, name, v, affine):
        """Writes a NIfTI file of an array with axes x, y, z."""
        nib.Nifti1Image(np.asarray(v, np.float32), affine).to_filename(self.cases / f"{name}.nii.gz")

    def run(self, recipe):
        path = self.folder / "recipe.toml"
        path.write_text(recipe.lstrip())
        command = [self.binary, "run", self.model, self.cases, "-o", self.out, "--recipe", path,
                   "--save-probabilities", "--overwrite", "--quiet"]
        done = subprocess.run([str(c) for c in command], capture_output=True, text=True)
        if done.returncode != 0:
            raise RuntimeError(f"exit code {done.returncode}: {done.stderr.strip()}")

    def file(self, name):
        path = self.out / name
        if not path.exists():
            found = sorted(str(p.relative_to(self.out)) for p in self.out.rglob("*"))
            raise RuntimeError(f"no file {name}; there are {', '.join(found)}")
        return path

    def read(self, name):
        """A volume with axes x, y, z, or the bytes of an image, row by row."""
        path = self.file(name)
        if path.suffix == ".png":
            return np.asarray(Image.open(path))
        return np.asarray(nib.load(path).dataobj)

    def compare(self, wanted, scores, case, names, ending=".nii.gz"):
        """Labels, and the scores of the labels `names`, that were found against those that are wanted."""
        labels = self.read(f"{case}_mask{ending}")
        assert labels.shape == wanted.shape, f"{labels.shape} instead of {wanted.shape}"
        occur, counts = np.unique(wanted, return_counts=True)
        assert len(occur) == len(names) + 1 and counts.min() > 0.01 * wanted.size, f"rare labels: {occur} {counts}"
        worst = 0.0
        for name, want in zip(names, scores):
            part = f"prob_{name}" if len(names) > 1 else "prob"
            got = self.read(f"{case}_{part}{ending}")
            diff = np.abs(got / 255.0 - want) - 0.5 / 255 if ending == ".png" else np.abs(got - want)
            worst = max(worst, float(diff.max()))
        return 100.0 * float((labels == wanted).mean()), worst


def nnunet_ct(t, spacing=(0.9, 0.85, 5.0), target=(1.2, 1.1, 3.0), degrees=0):
    """CT with thick slices: crop, clip and scale, resampling with slices apart, windows, flips, logits back, argmax."""
    rng = np.random.default_rng(2)
    dims = (62, 54, 15)
    v = -60 + 90 * noise(rng, dims, (3, 3, 1)) + rng.normal(size=dims) * 12
    v = np.where(ball(dims, 1.25), v, -1000)
    v[:3], v[:, -4:], v[:, :, :1] = 0, 0, 0
    v = np.round(v).astype(np.float32)
    # Stored as scanners do: left and posterior first.
    affine = np.diag([-spacing[0], -spacing[1], spacing[2], 1])
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    affine[:3, :3] = np.array([[1, 0, 0], [0, c, -s], [0, s, c]]) @ affine[:3, :3]
    affine[:3, 3] = (30, 20, -100)
    t.volume("ct_0000", v, affine)

    patch = (8, 32, 32)
    numbers = dict(mean=-40.0, std=85.0, percentile_00_5=-250.0, percentile_99_5=180.0)
    data, seg, box = crop_to_nonzero(v.transpose(2, 1, 0)[None])
    cropped = data.shape[1:]
    assert cropped != v.transpose(2, 1, 0).shape
    data[0] = CTNormalization(use_mask_for_norm=False, intensityproperties=numbers).run(data[0], seg[0])
    # As the file has it, in float32.
    own = [float(s) for s in nib.load(t.cases / "ct_0000.nii.gz").header.get_zooms()[::-1]]
    new = target[::-1]
    shape = compute_new_shape(cropped, own, new)
    how = dict(is_seg=False, order_z=0, force_separate_z=None)
    data = resample_data_or_seg_to_shape(data, shape, own, new, order=3, **how)
    data, revert = pad_nd_image(torch.from_numpy(data), patch, "constant", {"value": 0}, True, None)

    torch.manual_seed(2)
    net = Calibrated(Conv3d(1, 3), data[None, :, :8, :32, :32])
    export(net, (1, 1, *patch), t.model, free=(2, 3, 4))
    gaussian = compute_gaussian(patch, sigma_scale=1 / 8, value_scaling_factor=10, dtype=torch.float32,
                                device=torch.device("cpu"))
    logits, weights = torch.zeros((3, *data.shape[1:])), torch.zeros(data.shape[1:])
    mirrors = [c for n in range(3) for c in itertools.combinations((3, 4), n)]
    for z, y, x in itertools.product(*compute_steps_for_sliding_window(data.shape[1:], patch, 0.5)):
        at = (slice(None), slice(z, z + patch[0]), slice(y, y + patch[1]), slice(x, x + patch[2]))
        one = data[at][None]
        mean = sum(torch.flip(net(torch.flip(one, m)), m) for m in mirrors) / len(mirrors)
        logits[at] += mean[0] * gaussian
        weights[at[1:]] += gaussian
    logits = (logits / weights)[(slice(None), *revert[1:])]
    logits = resample_data_or_seg_to_shape(logits, cropped, new, own, order=1, **how)
    inner = torch.softmax(torch.from_numpy(logits), 0).numpy()
    scores = np.zeros((3, *v.shape[::-1]), np.float32)
    inside = tuple(slice(a, b) for a, b in box)
    scores[(slice(None), *inside)] = inner
    labels = np.zeros(v.shape[::-1], np.int16)
    labels[inside] = logits.argmax(0)

    t.run(f"""
version = 2

[model]
name = "nnunet-ct"
task = "segmentation"

[[input]]
name = "CT"
suffix = "_0000"

[[preprocess]]
step = "crop-nonzero"

[[preprocess]]
step = "ct"
low = -250.0
high = 180.0
mean = -40.0
deviation = 85.0

[[preprocess]]
step = "resample"
spacing = {list(target)}
method = "cubic"
rule = "nnunet"
separate = 3
across = "nearest"
back = "linear"

[[network]]
activation = "softmax"
combine = "logits"
flips = ["x", "y", "xy"]
window = {{ size = [32, 32, 8], overlap = 0.5, blend = "gaussian", style = "nnunet" }}

[[label]]
name = "background"

[[label]]
name = "organ"

[[label]]
name = "lesion"
""")
    return t.compare(labels.transpose(2, 1, 0), scores[1:].transpose(0, 3, 2, 1), "ct", ("organ", "lesion"))


def segresnet_regions(t):
    """Four contrasts, three overlapping regions, as MONAI's bundles for BraTS."""
    rng = np.random.default_rng(1)
    dims = (52, 60, 44)
    brain = ball(dims)
    affine = np.diag([1.0, 1.0, 1.0, 1.0])
    affine[:3, 3] = (-26, -30, -22)
    channels = []
    for i, name in enumerate(("t1c", "t1", "t2", "flair")):
        v = np.where(brain, 400 + 100 * i + 80 * noise(rng, dims, 3) + 20 * rng.normal(size=dims), 0)
        channels.append(v.astype(np.float32))
        t.volume(f"case_{name}", v, affine)
    window = (32, 32, 32)
    data = mt.NormalizeIntensity(nonzero=True, channel_wise=True)(torch.as_tensor(np.stack(channels)))[None]
    torch.manual_seed(1)
    net = SegResNet(spatial_dims=3, init_filters=8, in_channels=4, out_channels=3, blocks_down=(1, 2, 2),
                    blocks_up=(1, 1))
    net = Calibrated(net.eval(), data[:, :, 10:42, 14:46, 6:38])
    export(net, (1, 4, *window), t.model)
    logits = sliding_window_inference(data, window, 2, net, overlap=0.5, mode="gaussian")
    scores = torch.sigmoid(logits)[0].numpy()
    tc, wt, et = scores > 0.5
    labels = np.where(et, 4, np.where(tc, 1, np.where(wt, 2, 0)))
    t.run("""
version = 2

[model]
name = "segresnet-regions"
task = "segmentation"

[[input]]
name = "T1c"
suffix = "_t1c"

[[input]]
name = "T1"
suffix = "_t1"

[[input]]
name = "T2"
suffix = "_t2"

[[input]]
name = "FLAIR"
suffix = "_flair"

[[preprocess]]
step = "z-score"
over = "nonzero"
channels = "each"
outside = "keep"
ddof = 0
least-deviation = 1e-8

[[network]]
activation = "sigmoid"
combine = "logits"
axes = "xyz"
window = { size = [32, 32, 32], overlap = 0.5, blend = "gaussian", style = "monai" }

[decide]
rule = "regions"

[[label]]
name = "whole tumour"
value = 2
channel = 1

[[label]]
name = "tumour core"
value = 1
channel = 0

[[label]]
name = "enhancing tumour"
value = 4
channel = 2
""")
    names = ("tumour-core", "whole-tumour", "enhancing-tumour")
    return t.compare(labels, scores, "case", names)


def slices2d(t):
    """A network of images over the slices of a volume, in windows, by MONAI's SliceInferer."""
    rng = np.random.default_rng(3)
    dims = (70, 57, 9)
    v = np.where(ball(dims, 1.1), 300 + 90 * noise(rng, dims, (3, 3, 0.5)) + rng.normal(size=dims) * 15, 0)
    # Left, posterior, superior: canonical order flips two axes.
    affine = np.diag([-1.1, -1.2, 6.0, 1])
    t.volume("scan", v, affine)
    image = MetaTensor(torch.as_tensor(v.astype(np.float32))[None], affine=torch.as_tensor(affine))
    turned = mt.Orientation(axcodes="RAS")(image)
    data = mt.ScaleIntensityRangePercentiles(1, 99, 0, 1, clip=True)(turned)[None].as_tensor()
    torch.manual_seed(3)
    net = BasicUNet(spatial_dims=2, in_channels=1, out_channels=4, features=(8, 8, 16, 16, 32, 8))
    net = Calibrated(net.eval(), data[..., 4])
    export(net, (1, 1, 48, 48), t.model)
    inferer = SliceInferer(roi_size=(48, 48), spatial_dim=2, sw_batch_size=1, overlap=0.25, mode="gaussian")
    scores = inferer(data, lambda x: torch.softmax(net(x), 1))[0]
    back = mt.Orientation(axcodes="LPS")
    scores = back(MetaTensor(scores, affine=turned.affine)).numpy()
    t.run("""
version = 2

[model]
name = "slices"
task = "segmentation"

[[input]]
name = "scan"

[[preprocess]]
step = "orient"
to = "RAS"

[[preprocess]]
step = "percentile-rescale"
low = 0.01
high = 0.99
clip = true

[[network]]
activation = "softmax"
axes = "xyz"
slices = "z"
window = { size = [48, 48], overlap = 0.25, blend = "gaussian", style = "monai" }

[[label]]
name = "background"

[[label]]
name = "a"

[[label]]
name = "b"

[[label]]
name = "c"
""")
    return t.compare(scores.argmax(0), scores[1:], "scan", ("a", "b", "c"))


def class3d(t):
    """A class for each of several volumes, brought to one size."""
    rng = np.random.default_rng(4)
    scale = mt.ScaleIntensity(0, 1)
    resize = mt.Resize((32, 32, 32), mode="trilinear", align_corners=False)
    inputs = {}
    for i, dims in enumerate(((40, 36, 20), (30, 50, 44), (64, 33, 29), (32, 32, 32), (21, 70, 40), (50, 50, 12))):
        v = (200 + 60 * i) * ball(dims) + 50 * noise(rng, dims, 1 + i / 2)
        t.volume(f"v{i}", v, np.diag([1.0, 1.1, 1.5, 1]))
        inputs[f"v{i}"] = resize(scale(torch.as_tensor(v.astype(np.float32))[None]))[None].as_tensor()
    torch.manual_seed(4)
    net = DenseNet(spatial_dims=3, in_channels=1, out_channels=3, init_features=8, growth_rate=4, block_config=(2, 2))
    net.eval()
    # The classes are made to differ between the cases.
    with torch.no_grad():
        out = torch.cat([net(x) for x in inputs.values()])
        last = net.class_layers.out
        gain = 2.0 / out.std(0)
        last.bias.copy_((last.bias - out.mean(0)) * gain)
        last.weight.mul_(gain[:, None])
        wanted = {case: torch.softmax(net(x), 1)[0].numpy() for case, x in inputs.items()}
    export(net, (1, 1, 32, 32, 32), t.model)
    t.run("""
version = 2

[model]
name = "class3d"
task = "classification"

[[input]]
name = "scan"

[[preprocess]]
step = "min-max"

[[preprocess]]
step = "resize"
size = [32, 32, 32]
method = "linear"

[[network]]
activation = "softmax"
axes = "xyz"

[[label]]
name = "healthy"

[[label]]
name = "mild"

[[label]]
name = "severe"
""")
    names = ("healthy", "mild", "severe")
    with open(t.file("predictions.csv"), newline="") as f:
        found = {pathlib.Path(row["file"]).name.split(".")[0]: row for row in csv.DictReader(f)}
    assert found.keys() == wanted.keys(), f"{sorted(found)} instead of {sorted(wanted)}"
    classes = {names[int(p.argmax())] for p in wanted.values()}
    assert len(classes) == len(names), f"only {classes} occur"
    hits = sum(found[case]["class"] == names[int(p.argmax())] for case, p in wanted.items())
    worst = max(abs(float(found[case][f"prob_{n}"]) - p[i]) for case, p in wanted.items() for i, n in enumerate(names))
    return 100.0 * hits / len(wanted), float(worst)


def photo(rng, w, h):
    """Rows of red, green and blue."""
    v = np.stack([128 + 45 * noise(rng, (h, w), 6) + 12 * rng.normal(size=(h, w)) for _ in range(3)], 2)
    return np.clip(np.round(v), 0, 255).astype(np.uint8)


def photo_net(seed, data):
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Conv2d(3, 8, 5, padding=2), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 16, 3, 2, 1),
                        nn.ReLU(), nn.Conv2d(16, 16, 3, padding=1), nn.ReLU(), nn.ConvTranspose2d(16, 8, 2, 2),
                        nn.ReLU(), nn.Conv2d(8, 3, 1))
    return Calibrated(net.eval(), data)


PHOTO = """
version = 2

[model]
name = "photo"
task = "segmentation"

[[input]]
name = "photo"
kind = "image"

{steps}[[preprocess]]
step = "mean-deviation"
mean = [0.485, 0.456, 0.406]
deviation = [0.229, 0.224, 0.225]

[[network]]
activation = "softmax"
{network}
[[label]]
name = "ground"

[[label]]
name = "skin"

[[label]]
name = "wound"
"""
TO_TENSOR = tv.Compose([tv.ToTensor(), tv.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])])


def photo256(t):
    """Photos squeezed to 256 by 256 by torchvision, scores brought back by PyTorch."""
    v = photo(np.random.default_rng(5), 420, 311)
    Image.fromarray(v).save(t.cases / "photo.png")
    data = TO_TENSOR(tv.Resize((256, 256))(Image.fromarray(v)))[None]
    net = photo_net(5, data)
    export(net, (1, 3, 256, 256), t.model)
    scores = torch.softmax(net(data), 1)
    scores = nn.functional.interpolate(scores, size=v.shape[:2], mode="bilinear", align_corners=False)[0].numpy()
    steps = '[[preprocess]]\nstep = "resize"\nsize = [256, 256]\nmethod = "bilinear"\nback = "linear"\n\n'
    t.run(PHOTO.format(steps=steps, network=""))
    return t.compare(scores.argmax(0), scores[1:], "photo", ("skin", "wound"), ".png")


def photo256_tiled(t):
    """The same kind of network over larger photos in windows, by MONAI's sliding_window_inference."""
    v = photo(np.random.default_rng(6), 420, 311)
    Image.fromarray(v).save(t.cases / "photo.png")
    data = TO_TENSOR(Image.fromarray(v))[None]
    net = photo_net(6, data[:, :, :256, :256])
    export(net, (1, 3, 256, 256), t.model)
    predict = lambda x: torch.softmax(net(x), 1)
    scores = sliding_window_inference(data, (256, 256), 1, predict, overlap=0.5, mode="gaussian")[0].numpy()
    network = 'window = { size = [256, 256], overlap = 0.5, blend = "gaussian", style = "monai" }\n'
    t.run(PHOTO.format(steps="", network=network))
    return t.compare(scores.argmax(0), scores[1:], "photo", ("skin", "wound"), ".png")


def nnunet_oblique(t):
    """The same of a tilted gantry, where voxel sizes are no differences of coordinates."""
    return nnunet_ct(t, spacing=(0.5, 0.5, 3.0), target=(1.0, 1.0, 3.0), degrees=17)


def nnunet_apart(t):
    """The same where another axis is the thick one on the way back."""
    return nnunet_ct(t, target=(5.0, 1.0, 1.1))


TASKS = dict(nnunet_ct=nnunet_ct, nnunet_oblique=nnunet_oblique, nnunet_apart=nnunet_apart,
             segresnet_regions=segresnet_regions, slices2d=slices2d, class3d=class3d,
             photo256=photo256, photo256_tiled=photo256_tiled)


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    p.add_argument("binary", type=pathlib.Path, metavar="AMPOULE_BINARY")
    p.add_argument("tasks", nargs="*", metavar="TASK", help=", ".join(TASKS))
    p.add_argument("--keep", type=pathlib.Path, metavar="DIR", help="folder for models, cases and results, which stay")
    a = p.parse_args()
    unknown = sorted(set(a.tasks) - set(TASKS))
    if unknown:
        p.error(f"no task {', '.join(unknown)}; tasks are {', '.join(TASKS)}")
    for package, version in VERSIONS.items():
        have = importlib.metadata.version(package).split("+")[0]
        if have != version:
            p.error(f"{package} {have} instead of {version}")
    torch.set_grad_enabled(False)
    failed = False
    with tempfile.TemporaryDirectory() as temporary:
        folder = a.keep or pathlib.Path(temporary)
        for name in a.tasks or TASKS:
            begun = time.monotonic()
            try:
                labels, worst = TASKS[name](Task(a.binary.absolute(), folder / name, name))
            except (RuntimeError, AssertionError) as e:
                print(f"{name}: {e}", flush=True)
                failed = True
                continue
            good = labels >= LABELS and worst <= PROBABILITY
            failed |= not good
            print(f"{name}: labels {labels:.4f} %, probabilities max diff {worst:.2g}{'' if good else ' FAILED'}"
                  f" ({time.monotonic() - begun:.0f} s)", flush=True)
    sys.exit(failed)


if __name__ == "__main__":
    main()
