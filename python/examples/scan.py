"""A brain mask of a head: from a nibabel image to a nibabel image, with the volume.

python scan.py [HEAD.nii.gz]
"""

import pathlib
import sys

import nibabel

import ampoule_ai as ampoule

ASSETS = pathlib.Path(__file__).parents[2] / "assets"

head = nibabel.load(sys.argv[1] if len(sys.argv) > 1 else ASSETS / "colin27.nii.gz")
model = ampoule.Model.open("deepbet", precision="bf16", max_ram="4G")
found = model.predict(head)
print({name: f"{ml:.0f} ml" for name, ml in found.volumes.items()}, *found.warnings)
print(f"{found.seconds['total']:.1f} s, {found.peak_memory_bytes >> 20} MiB")
nibabel.save(found.to_nibabel(), "mask.nii.gz")
