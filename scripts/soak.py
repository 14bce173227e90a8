#!/usr/bin/env python3
"""Runs thousands of small cases in one process and checks that memory and descriptors stay where they were.

    .venv/bin/python scripts/soak.py AMPOULE [--cases 3000] [--kind photos,tiles,head] [--threads 1] [--csv FILE]

While `run` works on the cases of a folder, its resident memory (RssAnon, what it took itself) and its open descriptors are sampled; the
number of records tells which case it is at. From case 100 on the memory's least value in each tenth of the run must stay within 2 % of
that of the first, and descriptors within 2: buffers come and go, and what is never given back shows in the least value. Prints
a row a kind with the growth a case; ends with 1 if anything grows. Linux; needs the environment of scripts/oracles.sh.
"""

import argparse
import csv
import os
import pathlib
import subprocess
import sys
import tempfile
import time

import kill_matrix
import nibabel
import numpy as np

FIRST = 100
ALLOWED = 0.02
PARTS = 10


def head(d, count):
    arguments = kill_matrix.head(d)
    source = d / "in" / "head00.nii.gz"
    image = nibabel.load(source)
    small = nibabel.Nifti1Image(np.asarray(image.dataobj)[8:40, 8:40, 8:40], image.affine)
    for p in (d / "in").iterdir():
        p.unlink()
    nibabel.save(small, d / "in" / "case00000.nii")
    data = (d / "in" / "case00000.nii").read_bytes()
    for n in range(1, count):
        (d / "in" / f"case{n:05}.nii").write_bytes(data)
    return arguments[:-1]


def pictures(d, count):
    """Tiles under so many names, in folders of 500."""
    sources = [p.read_bytes() for p in sorted((kill_matrix.QUICK / "test").glob("*.png"))]
    for n in range(count):
        place = d / "in" / f"part{n // 500:03}"
        place.mkdir(parents=True, exist_ok=True)
        (place / f"case{n:05}.png").write_bytes(sources[n % len(sources)])


def photos(d, count):
    kill_matrix.network(d / "m.onnx", 3, 2, 3, hidden=8)
    step = '[[preprocess]]\nstep = "resize"\nsize = [64, 64]\nmethod = "bilinear"'
    kill_matrix.recipe(d / "m.toml", "image", "classification", 3, step)
    pictures(d, count)
    return ["run", "m.onnx", "in", "--recipe", "m.toml"]


def tiles(d, count):
    pictures(d, count)
    recipe = kill_matrix.HERE / "recipes" / "discs.toml"
    return ["run", str(kill_matrix.QUICK / "discs.onnx"), "in", "--recipe", str(recipe)]


KINDS = {"photos": photos, "tiles": tiles, "head": head}


def status(pid, key):
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(key + ":"):
            return int(line.split()[1])
    return None


def done(out):
    """How many records lie in the output, counted by names alone."""
    return sum(name.endswith("_ampoule.json") for _, _, names in os.walk(out) for name in names)


def watch(ampoule, home, arguments, threads):
    """Samples of (cases done, KiB, descriptors), the exit code and seconds."""
    out = home / "out"
    command = [ampoule, *arguments, "-o", str(out), "--quiet", "--threads", str(threads)]
    begun, samples = time.monotonic(), []
    with tempfile.TemporaryFile() as said:
        child = subprocess.Popen(command, cwd=home, stdout=said, stderr=said)
        while child.poll() is None:
            try:
                kib, open_files = status(child.pid, "RssAnon"), len(os.listdir(f"/proc/{child.pid}/fd"))
            except (OSError, ValueError):
                break
            if kib is not None:
                samples.append((done(out), kib, open_files))
            time.sleep(0.05)
        code = child.wait()
        said.seek(0)
        return samples, code, time.monotonic() - begun, said.read().decode(errors="replace")


def judge(samples, count):
    """Words, and whether they are bad."""
    # The end writes tables and pages of all cases.
    kept = [s for s in samples if FIRST <= s[0] < count]
    if len(kept) < 4 * PARTS:
        return f"only {len(kept)} samples; use more cases", True
    edges = np.linspace(FIRST, count, PARTS + 1)
    parts = [[s for s in kept if a <= s[0] < b] for a, b in zip(edges, edges[1:])]
    if not all(parts):
        return "no sample in a tenth of the run; use more cases", True
    least = [min(s[1] for s in p) for p in parts]
    most = [max(s[1] for s in p) for p in parts]
    open_files = [max(s[2] for s in p) for p in parts]
    growth = max(abs(m - least[0]) for m in least) / least[0]
    slope = np.polyfit([s[0] for s in kept], [s[1] * 1024 for s in kept], 1)[0]
    words = (f"memory {least[0] / 1024:.1f} to {least[-1] / 1024:.1f} MiB at least, {max(most) / 1024:.1f} at most; "
             f"{100 * growth:.2f} % off, {slope:.0f} bytes a case; descriptors {open_files[0]} to {max(open_files)}")
    return words, growth > ALLOWED or max(open_files) > open_files[0] + 2


def main():
    parse = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parse.add_argument("ampoule")
    parse.add_argument("--cases", type=int, default=3000)
    parse.add_argument("--kind", default=",".join(KINDS))
    parse.add_argument("--threads", type=int, default=1)
    parse.add_argument("--csv", type=pathlib.Path, help="write all samples to this file")
    a = parse.parse_args()
    ampoule, bad, rows = str(pathlib.Path(a.ampoule).resolve()), 0, []
    for kind in a.kind.split(","):
        with tempfile.TemporaryDirectory(prefix="soak-") as folder:
            home = pathlib.Path(folder)
            arguments = KINDS[kind](home, a.cases)
            samples, code, seconds, said = watch(ampoule, home, arguments, a.threads)
            finished = done(home / "out")
        words, off = judge(samples, a.cases)
        if code != 0 or finished != a.cases:
            words, off = f"code {code}, {finished} cases done: {said.strip()[-300:]}; {words}", True
        bad += off
        rows += [(kind, *s) for s in samples]
        print(f"{'FAIL' if off else 'ok  '} {kind}: {a.cases} cases in {seconds:.0f} s; {words}", flush=True)
    if a.csv:
        with a.csv.open("w", newline="") as file:
            csv.writer(file).writerows([("kind", "case", "kib", "descriptors"), *rows])
    sys.exit(bad > 0)


if __name__ == "__main__":
    main()
