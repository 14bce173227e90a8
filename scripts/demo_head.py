"""Makes the head and the truth of `ampoule demo` from Colin27 (BSD-3, Debian package mricron-data).

    python scripts/demo_head.py TEMPLATES_FOLDER assets

The head keeps its 1 mm grid; grey values are rounded to multiples of 6 so that it compresses to less
than 2 MiB. The truth is the tissue mask beside it (ch2bet > 0), which leaves out the fluid.
Needs nibabel and numpy (scripts/oracles.sh installs them).
"""
import gzip
import pathlib
import sys

import nibabel as nib
import numpy as np

source, target = map(pathlib.Path, sys.argv[1:3])


def save(array, like, name):
    image = nib.Nifti1Image(array, like.affine)
    image.set_data_dtype(np.uint8)
    path = target / name
    # No time stamp: the same input gives the same file.
    path.write_bytes(gzip.compress(image.to_bytes(), 9, mtime=0))
    print(path, path.stat().st_size)


head = nib.load(source / "ch2.nii.gz")
values = np.asarray(head.dataobj).astype(np.int32)
save(((values + 3) // 6 * 6).clip(0, 255).astype(np.uint8), head, "colin27.nii.gz")
truth = np.asarray(nib.load(source / "ch2bet.nii.gz").dataobj) > 0
save(truth.astype(np.uint8), head, "colin27_tissue.nii.gz")
