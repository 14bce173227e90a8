"""Makes the golden mask of the whole-head test, cli/tests/golden/colin27_deepbet.nii.gz.

    python scripts/golden_demo.py [ORIGINAL_MASK]

Brain extraction of the head in assets/ as deepbet's paper and package describe it, with nibabel, numpy and
scipy around ONNX Runtime: nothing of Ampoule takes part but the file of the two networks. With a mask that the
original package made of the full head (ch2), prints how far the two agree. Needs 8 GiB of memory and what
scripts/oracles.sh installs.
"""
import gzip
import pathlib
import sys

import nibabel as nib
import numpy as np
import onnx
import onnx.utils
import onnxruntime
from scipy import ndimage

ROOT = pathlib.Path(__file__).resolve().parent.parent
TARGET = ROOT / "cli/tests/golden/colin27_deepbet.nii.gz"
# The networks were trained on intensities with this mean and deviation.
MEAN, DEVIATION = 0.449, 0.226
FULL = np.ones((3, 3, 3))


def nearest(array, shape):
    """Resamples to `shape`: the nearest voxel, centre on centre."""
    places = [np.floor((np.arange(n) + 0.5) * (s / n)).astype(int) for s, n in zip(array.shape, shape)]
    return array[np.ix_(*places)]


def normalized(array, low, high):
    """Intensities between two limits as the networks take them."""
    array = ((array - low) / (high - low)).clip(0, 1)
    return ((array - array.mean()) / array.std(ddof=1) * DEVIATION + MEAN).astype(np.float32)


def largest(mask):
    """The largest component, touching corners included."""
    labels, count = ndimage.label(mask, FULL)
    assert count > 0, "nothing was found"
    return labels == np.bincount(labels.ravel())[1:].argmax() + 1


def box(mask, shape, threshold=0.02, margin=0.1):
    """The box of a coarse mask in a head of `shape`, a tenth larger on each side."""
    slices = []
    for axis, size in enumerate(shape):
        others = tuple(a for a in range(3) if a != axis)
        planes = np.flatnonzero(mask.mean(axis=others) > threshold)
        first, last = planes.min(), planes.max() + 1
        factor = size / mask.shape[axis]
        centre = np.round(factor * (first + last) / 2)
        extent = np.round(factor * (last - first) * (1 + 2 * margin))
        slices.append(slice(max(0, int(centre - extent / 2)), min(size, int(centre + extent / 2))))
    return tuple(slices)


def brain(head, model):
    """The mask of a head in canonical orientation."""

    def probability(part, array):
        """Probability of brain by one of the file's two networks, each with an input of its own."""
        names = f"{part}_image", part
        network = onnx.utils.Extractor(model).extract_model([names[0]], [names[1]])
        session = onnxruntime.InferenceSession(network.SerializeToString(), providers=["CPUExecutionProvider"])
        # The last channel is the brain.
        return session.run([part], {names[0]: array[None, None]})[0].reshape(-1, *array.shape)[-1]

    coarse = nearest(head, (128, 128, 128))
    low, high = np.quantile(coarse, [0.005, 0.995])
    found = largest(probability("bbox", normalized(coarse, low, high)) > 0.5)
    inside = box(found, head.shape)
    part = head[inside]
    p = probability("main", normalized(nearest(part, (256, 256, 256)), low, high))
    mask = np.zeros(head.shape, bool)
    mask[inside] = ndimage.binary_fill_holes(largest(nearest(p, part.shape) > 0.5))
    return mask


def main():
    image = nib.as_closest_canonical(nib.load(ROOT / "assets/colin27.nii.gz"))
    head = np.asarray(image.dataobj).astype(np.float32)
    model = onnx.load(ROOT / "assets/deepbet_f16.onnx")
    # Nodes of both networks have the same names, which ONNX Runtime refuses.
    for node in model.graph.node:
        node.name = ""
    mask = brain(head, model)
    result = nib.Nifti1Image(mask.astype(np.uint8), image.affine)
    TARGET.parent.mkdir(exist_ok=True)
    # No time stamp: the same input gives the same file.
    TARGET.write_bytes(gzip.compress(result.to_bytes(), 9, mtime=0))
    print(TARGET, TARGET.stat().st_size, "bytes,", mask.sum(), "voxels")
    if len(sys.argv) > 1:
        other = np.asarray(nib.as_closest_canonical(nib.load(sys.argv[1])).dataobj) > 0
        dice = 2 * (mask & other).sum() / (mask.sum() + other.sum())
        print(f"Dice {dice:.5f} with {sys.argv[1]}, {(mask != other).sum()} voxels differ")


main()
