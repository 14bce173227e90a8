#!/usr/bin/env python3
"""Folders of BrainMaGe's weights with the masks of its own code, for crates/zoo/tests/golden/brainmage.

    .venv-gandlf/bin/python scripts/golden_brainmage.py SOURCES OUTPUT [any|four]

in the environment of scripts/golden_gandlf_models.py; SOURCES is a copy of the repository CBICA/BrainMaGe (2c8395b). Its
network with two filters learns to find the inside of a phantom's skull; masks are those of its `infer_ma` and
`infer_single_multi_4` on the CPU. The latter has 16 filters in its code, where two are put.
"""
import contextlib
import io
import os
import pathlib
import shutil
import sys
import tempfile
import types

os.environ.update(CUDA_VISIBLE_DEVICES="", OMP_NUM_THREADS="1")
import nibabel as nib
import numpy as np
import scipy.ndimage

if "scipy.ndimage.morphology" not in sys.modules:
    old = types.ModuleType("scipy.ndimage.morphology")
    old.binary_fill_holes = scipy.ndimage.binary_fill_holes
    sys.modules["scipy.ndimage.morphology"] = old
sys.modules.setdefault("bids", types.SimpleNamespace(BIDSLayout=None))
WORK = pathlib.Path(tempfile.mkdtemp())
FILTERS = 2


def head(shape, spacing, seed, gains):
    """A brain within a skull, of blocks of some voxels that compress; each contrast, and where the brain is."""
    rng = np.random.default_rng(seed)
    grid = np.stack(np.meshgrid(*[np.arange(n) * s for n, s in zip(shape, spacing)], indexing="ij"), -1)
    centre = np.array(shape) * spacing / 2 + rng.uniform(-4, 4, 3)
    away = lambda radii: (((grid - centre) / radii) ** 2).sum(-1)
    radii = np.array([55, 65, 45]) * rng.uniform(0.85, 1.0, 3)
    brain, skull, skin = away(radii) < 1, away(radii + 6) < 1, away(radii + 10) < 1
    out = []
    for g in gains:
        noise = np.kron(rng.integers(-2, 3, [-(-n // 4) for n in shape]), np.ones((4, 4, 4)))[tuple(slice(n) for n in shape)]
        v = np.where(brain, 100 * g, np.where(skull, 20, np.where(skin, 70, 0)))
        out.append((np.where(skin, v + 4 * noise, 0)).astype(np.int16))
    return out, brain


def train(channels, gains):
    import torch
    from BrainMaGe.models.networks import fetch_model
    from BrainMaGe.utils.utils_test import process_image
    from skimage.transform import resize

    torch.manual_seed(2)
    torch.set_num_threads(1)
    net = fetch_model("resunet", channels, 2, FILTERS)
    opt = torch.optim.Adam(net.parameters(), lr=8e-3)
    data = []
    for k in range(3):
        images, brain = head((240, 240, 160), (1, 1, 1), k, gains)
        x = np.stack([resize(process_image(v.astype(float)), (64,) * 3, order=1, mode="edge", anti_aliasing=False) for v in images])
        data.append((torch.from_numpy(x).float()[None], torch.from_numpy(resize(brain.astype(float), (64,) * 3, order=1)).float()[None, None]))
    for i in range(120):
        x, y = data[i % 3]
        if i == 50:
            # As it is used: with the running statistics, and nothing dropped.
            net.eval()
        loss = torch.nn.functional.binary_cross_entropy(net(x).clamp(1e-6, 1 - 1e-6), y, weight=1 + 2 * y)
        opt.zero_grad()
        loss.backward()
        opt.step()
    return net, float(loss.detach())


def put(name, output, weights, net, cfg, files):
    import torch

    target = output / name
    shutil.rmtree(target, ignore_errors=True)
    (target / "case").mkdir(parents=True)
    (target / "model").mkdir()
    torch.save({"model_state_dict": net.state_dict(), "epoch": 1, "optimizer_state_dict": {}}, target / "model" / weights)
    text = "".join(f"{k} = {v}\n" for k, v in cfg.items())
    (target / "model" / "test_params.cfg").write_text("# BrainMaGe's\n" + text)
    for file, image in files.items():
        nib.save(image, target / "case" / file)
    return target


def ma(name, output, net, shape, spacing):
    from BrainMaGe.tester.test_ma import infer_ma

    (image,), _ = head(shape, spacing, 9, [1])
    affine = np.diag([-spacing[0], -spacing[1], spacing[2], 1.0])
    affine[:3, 3] = 60, 70, -40
    cfg = {"results_dir": WORK / name, "test_dir": ".", "mode": "ma", "csv_provided": True, "test_csv": WORK / f"{name}.csv",
           "num_modalities": 1, "modalities": "['t1']", "model": "resunet", "num_classes": 2, "base_filters": FILTERS}
    target = put(name, output, "resunet_ma.pt", net, {**cfg, "results_dir": ".", "test_csv": "."}, {"case.nii.gz": nib.Nifti1Image(image, affine)})
    (WORK / f"{name}.csv").write_text(f"ID,Image_path\ncase,{target / 'case/case.nii.gz'}\n")
    (WORK / f"{name}.cfg").write_text("".join(f"{k} = {v}\n" for k, v in cfg.items()))
    with contextlib.redirect_stdout(io.StringIO()):
        infer_ma(str(WORK / f"{name}.cfg"), "cpu", 0, str(target / "model/resunet_ma.pt"))
    mask = nib.load(WORK / name / "case/case_mask.nii.gz")
    nib.save(nib.Nifti1Image(np.asarray(mask.dataobj).astype(np.uint8), affine), target / "labels.nii.gz")
    return int(np.asarray(mask.dataobj).sum())


def multi(name, output, net, gains):
    import BrainMaGe.tester.test_single_multi_4 as module

    own = module.fetch_model
    module.fetch_model = lambda modelname, num_channels, num_classes, num_filters: own(modelname, num_channels, num_classes, FILTERS)
    shape = (144, 160, 120)
    images, _ = head(shape, (1, 1, 1), 11, gains)
    names = ["t1", "t2", "t1ce", "flair"]
    cfg = {"mode": "multi", "num_modalities": 4, "modalities": str(names), "model": "resunet", "num_classes": 2, "base_filters": FILTERS}
    files = {f"case_{n}.nii.gz": nib.Nifti1Image(v, np.diag([-1.0, -1, 1, 1])) for n, v in zip(names, images)}
    target = put(name, output, "resunet_multi_4.pt", net, cfg, files)
    paths = [str(target / "case" / f) for f in files]
    with contextlib.redirect_stdout(io.StringIO()):
        module.infer_single_multi_4(paths, str(target / "labels.nii.gz"), str(target / "model/resunet_multi_4.pt"))
    mask = nib.load(target / "labels.nii.gz")
    # It saves what the network saw of the image and around it: 240 x 240 pixels with the image in their middle, and 155 slices.
    begin = [(240 - n) // 2 for n in shape[:2]]
    cut = tuple(slice(b, b + n) for b, n in zip(begin, shape)) + (slice(shape[2]),)
    found = np.asarray(mask.dataobj).astype(np.uint8)[cut]
    nib.save(nib.Nifti1Image(found, mask.affine), target / "labels.nii.gz")
    return int(found.sum())


def main():
    sys.path.insert(0, sys.argv[1])
    output = pathlib.Path(sys.argv[2]).absolute()
    only = sys.argv[3:]
    if only != ["four"]:
        net, loss = train(1, [1])
        net.eval()
        print("one contrast: loss", round(loss, 4), flush=True)
        print("any", ma("any", output, net, (128, 148, 112), (1.0, 1.0, 1.0)), flush=True)
    if only == ["any"]:
        return
    gains = [1, 1.4, 0.9, 1.2]
    net, loss = train(4, gains)
    net.eval()
    print("four contrasts: loss", round(loss, 4), flush=True)
    print("four", multi("four", output, net, gains), flush=True)


if __name__ == "__main__":
    main()
