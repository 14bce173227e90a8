#!/usr/bin/env python3
"""What dcm2niix makes of series of a tilted gantry: crates/dicom/tests/golden/tilt.json.

`tilt.zip` is of scripts/golden_dicom.py; `tilt_back.zip` is the same tilted the other way, made here. dcm2niix (Debian) writes a
second file with `Tilt` in its name, whose slices are moved back. Needs pydicom (the environment of scripts/oracles.sh) and
nothing else:

    .venv/bin/python scripts/golden_tilt.py
"""

import io
import json
import pathlib
import struct
import subprocess
import tempfile
import zipfile

import pydicom

GOLDEN = pathlib.Path("crates/dicom/tests/golden")


def back(source, target):
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as new:
        for name in sorted(old.namelist()):
            d = pydicom.dcmread(io.BytesIO(old.read(name)))
            x, y, z = d.ImagePositionPatient
            # 0.35 mm a slice of 1.5 mm become -0.35.
            k = round((float(z) - 12.0) / 1.5)
            d.ImagePositionPatient = [x, f"{float(y) - 0.7 * k:.9g}", z]
            out = io.BytesIO()
            d.save_as(out, enforce_file_format=True)
            new.writestr(zipfile.ZipInfo(name, (2020, 1, 2, 0, 0, 0)), out.getvalue())


def straightened(archive):
    with tempfile.TemporaryDirectory() as folder:
        zipfile.ZipFile(archive).extractall(f"{folder}/in")
        subprocess.run(["dcm2niix", "-b", "n", "-z", "n", "-o", folder, f"{folder}/in"], check=True, stdout=subprocess.DEVNULL)
        [path] = pathlib.Path(folder).glob("*Tilt*.nii")
        b = path.read_bytes()
    shape = struct.unpack("<3h", b[42:48])
    assert struct.unpack("<h", b[70:72]) == (4,)
    affine = [list(struct.unpack("<4f", b[280 + 16 * i:296 + 16 * i])) for i in range(3)]
    at, n = int(struct.unpack("<f", b[108:112])[0]), shape[0] * shape[1] * shape[2]
    return {"shape": list(shape), "affine": affine, "values": list(struct.unpack(f"<{n}h", b[at:at + 2 * n]))}


def main():
    back(GOLDEN / "tilt.zip", GOLDEN / "tilt_back.zip")
    golden = {name: straightened(GOLDEN / f"{name}.zip") for name in ("tilt", "tilt_back")}
    for name, one in golden.items():
        print(name, one["shape"], one["affine"])
    (GOLDEN / "tilt.json").write_text(json.dumps(golden) + "\n")


if __name__ == "__main__":
    main()
