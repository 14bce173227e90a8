#!/usr/bin/env python3
"""Weights of SynthStrip's network with the masks that FreeSurfer's steps around it give, for crates/zoo/tests/golden/synthstrip.

    python3.11 -m venv .venv-synthstrip
    .venv-synthstrip/bin/pip install torch==2.9.1 "numpy<2" scipy nibabel cython surfa==0.6.3
    .venv-synthstrip/bin/pip install --no-deps nipreps-synthstrip==0.0.1
    .venv-synthstrip/bin/python scripts/golden_synthstrip.py crates/zoo/tests/golden/synthstrip

A network of two levels learns the distance from the surface of phantoms' brains in some steps. What happens before and after it
is done by `surfa`, the library that `mri_synthstrip` calls: conform, crop, reshape, scale, resample and the largest component.
Distances are kept at some places, as the score that Ampoule makes of them.
"""
import json
import pathlib
import shutil
import sys

import nibabel as nib
import numpy as np
import scipy.ndimage
import surfa
import torch
from nipreps.synthstrip.model import StripModel

OUT = pathlib.Path(sys.argv[1])
# mri_synthstrip's default.
BORDER = 1
torch.set_num_threads(1)


def head(shape, spacing, seed):
    """A brain within a skull, in blocks of some voxels that compress, and each voxel's distance from the brain's surface in mm."""
    rng = np.random.default_rng(seed)
    grid = np.stack(np.meshgrid(*[np.arange(n) * s for n, s in zip(shape, spacing)], indexing="ij"), -1)
    centre = np.array(shape) * spacing / 2 + rng.uniform(-5, 5, 3)
    away = lambda radii: (((grid - centre) / radii) ** 2).sum(-1)
    radii = np.array([52, 62, 48]) * rng.uniform(0.85, 1.0, 3)
    brain, skull, skin = away(radii) < 1, away(radii + 6) < 1, away(radii + 10) < 1
    noise = np.kron(rng.integers(-2, 3, [-(-n // 4) for n in shape]), np.ones((4, 4, 4)))[tuple(slice(n) for n in shape)]
    v = np.where(brain, 100, np.where(skull, 20, np.where(skin, 70, 0)))
    out = scipy.ndimage.distance_transform_edt(~brain, spacing) - scipy.ndimage.distance_transform_edt(brain, spacing)
    return np.where(skin, v + 4 * noise, 0).astype(np.int16), out.astype(np.float32)


def seen(image):
    """What the network sees of an image."""
    v = image.conform(voxsize=1.0, dtype="float32", method="nearest", orientation="LIA").crop_to_bbox()
    shape = np.clip(np.ceil(np.array(v.shape[:3]) / 64).astype(int) * 64, 192, 320)
    v = v.reshape(shape)
    v -= v.min()
    return (v / v.percentile(99)).clip(0, 1)


def train():
    torch.manual_seed(3)
    net = StripModel(nb_features=4, nb_levels=3, max_features=8)
    opt = torch.optim.Adam(net.parameters(), lr=5e-3)
    image, distance = head((64,) * 3, (3.0,) * 3, 1)
    x = torch.from_numpy((image / np.percentile(image, 99)).clip(0, 1)).float()[None, None]
    y = torch.from_numpy(distance / 3).clamp(-8, 8)[None, None]
    for _ in range(250):
        loss = (net(x) - y).abs().mean()
        opt.zero_grad()
        loss.backward()
        opt.step()
    print("loss", round(float(loss.detach()), 3), flush=True)
    return net.eval()


def case(name, net, shape, spacing, affine):
    target = OUT / name
    shutil.rmtree(target, ignore_errors=True)
    (target / "case").mkdir(parents=True)
    values, _ = head(shape, spacing, 5)
    path = target / "case" / "case.nii.gz"
    nib.save(nib.Nifti1Image(values, affine), path)
    image = surfa.load_volume(str(path))
    conformed = seen(image)
    with torch.no_grad():
        found = net(torch.from_numpy(np.ascontiguousarray(conformed.data))[None, None]).numpy().squeeze()
    distance = conformed.new(found).resample_like(image, fill=100)
    mask = (distance < BORDER).connected_component_mask(k=1, fill=True)
    labels = np.asarray(mask.data).astype(np.uint8)
    nib.save(nib.Nifti1Image(labels, affine), target / "labels.nii.gz")
    rng = np.random.default_rng(0)
    places = np.stack([rng.integers(0, n, 400) for n in shape], -1)
    # Beyond the box of what is not 0 Ampoule gives no score; surfa gives what the network made of the padding.
    places = places[values[tuple(places.T)] > 0]
    scores = [[float(0.5 - distance.data[tuple(p)] / 200)] for p in places]
    (target / "scores.json").write_text(json.dumps({"xyz": places.tolist(), "scores": scores}))
    print(name, conformed.shape, int(labels.sum()), flush=True)


def main():
    net = train()
    OUT.mkdir(parents=True, exist_ok=True)
    torch.save({"model_state_dict": net.state_dict()}, OUT / "synthstrip.1.pt")
    # Thick slices, turned; and voxels of no round size.
    turned = np.array([[0, -1.5, 0, 90], [0, 0, 4.0, -70], [-1.25, 0, 0, 80], [0, 0, 0, 1.0]])
    case("thick", net, (112, 96, 30), (1.25, 1.5, 4.0), turned)
    fine = np.diag([-1.1, -1.1, 1.3, 1.0])
    fine[:3, 3] = 60, 70, -60
    case("uneven", net, (110, 126, 84), (1.1, 1.1, 1.3), fine)


if __name__ == "__main__":
    main()
