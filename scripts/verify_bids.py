"""Runs the BIDS validator over what `run` writes for a BIDS data set.

    python3 scripts/verify_bids.py [AMPOULE]

Needs the validator: `npm install -g bids-validator` knows no derivatives, so the schema-based one is taken
(`pip install bids-validator-deno`). Without it nothing is verified, which is said.
"""

import gzip
import json
import os
import shutil
import struct
import subprocess
import sys
import tempfile


def volume(path):
    """A small NIfTI volume with a bright ball."""
    n = 24
    header = bytearray(352)
    struct.pack_into("<i", header, 0, 348)
    struct.pack_into("<8h", header, 40, 3, n, n, n, 1, 1, 1, 1)
    struct.pack_into("<hh", header, 70, 16, 32)
    struct.pack_into("<8f", header, 76, 1, 2, 2, 2, 1, 1, 1, 1)
    struct.pack_into("<f", header, 108, 352)
    header[123] = 10
    struct.pack_into("<h", header, 254, 1)
    for row in range(3):
        affine = [0.0] * 4
        affine[row] = 2.0
        struct.pack_into("<4f", header, 280 + 16 * row, *affine)
    header[344:348] = b"n+1\0"
    values = [
        300.0 + x if (x - 12) ** 2 + (y - 12) ** 2 + (z - 11) ** 2 < 60 else 5.0 + (x * y + z) % 7
        for z in range(n)
        for y in range(n)
        for x in range(n)
    ]
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with gzip.open(path, "wb") as out:
        out.write(bytes(header) + struct.pack(f"<{len(values)}f", *values))


def main():
    program = sys.argv[1] if len(sys.argv) > 1 else "target/debug/ampoule"
    validator = shutil.which("bids-validator-deno")
    if validator is None:
        print("SKIPPED: the BIDS validator is not here; pip install bids-validator-deno")
        return 0
    with tempfile.TemporaryDirectory() as folder:
        data, out = os.path.join(folder, "set"), os.path.join(folder, "out")
        for name in ["sub-01/anat/sub-01_T1w", "sub-02/ses-1/anat/sub-02_ses-1_run-1_T1w"]:
            volume(f"{data}/{name}.nii.gz")
        with open(f"{data}/dataset_description.json", "w") as file:
            json.dump({"Name": "x", "BIDSVersion": "1.8.0"}, file)
        run = [program, "run", "deepbet", data, "-o", out, "--save-probabilities"]
        subprocess.run(run, check=True)
        found = subprocess.run([validator, out, "--ignoreWarnings"], capture_output=True, text=True)
        print(found.stdout)
        if found.returncode != 0 or "[ERROR]" in found.stdout:
            print("the derivatives are not valid")
            return 1
    print("the derivatives are valid")
    return 0


if __name__ == "__main__":
    sys.exit(main())
