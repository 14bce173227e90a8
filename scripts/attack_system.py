"""What a machine may do to a run, for `scripts/attack.py`: full and read-only disks, few descriptors, odd entries of folders, many
and no threads, two processes, and every limit on memory."""

import hashlib
import os
import pathlib
import re
import resource
import shutil
import socket
import subprocess

import nibabel
import numpy as np
import tifffile
from PIL import Image

from attack_files import QUICK, discs, segmenter
from attack_groups import Attempt

NEEDS = re.compile(r"(?:^|: )([^:\n]*?)needs? (?:about )?(\d+) MiB[^.\n]*the limit is (\d+) MiB", re.M)


def digest(out):
    """Masks of a folder by their content."""
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(out.rglob("*_mask.*"))}


def mounted(place, *options):
    place.mkdir(exist_ok=True)
    return subprocess.run(["mount", "-t", "tmpfs", "-o", ",".join(options), "none", str(place)], capture_output=True).returncode == 0


def odd_machines(d):
    """`run` on full disks, with few descriptors, among odd entries, by two processes."""
    args = discs(d)
    sources = sorted((QUICK / "test").glob("*.png"))
    (d / "in").mkdir()
    for i, p in enumerate(sources[:6]):
        shutil.copyfile(p, d / f"in/c{i}.png")
    wanted = {}

    def usual(code):
        wanted.update(digest(d / "usual"))
        return [] if len(wanted) == 6 else [f"{len(wanted)} masks"]

    same = lambda out: lambda code: [] if digest(d / out) == wanted else [f"other masks: {sorted(digest(d / out))}"]
    part = lambda out: lambda code: [f"{n} is another" for n, h in digest(d / out).items() if wanted.get(n) != h]
    yield Attempt("usual", ["run", *args, "in", "-o", "usual"], codes=(0,), right=usual)
    for threads in ("1", "2", "3", "64", "1000"):
        yield Attempt(f"{threads} threads", ["run", *args, "in", "-o", f"t{threads}", "--threads", threads], codes=(0, 2), right=lambda code, o=f"t{threads}": same(o)(code) if code == 0 else [])
    yield Attempt("no threads", ["run", *args, "in", "-o", "t0", "--threads", "0"], codes=(0, 2), right=lambda code: same("t0")(code) if code == 0 else [])
    for name, limits in {"8 descriptors": {resource.RLIMIT_NOFILE: 8}, "24 descriptors": {resource.RLIMIT_NOFILE: 24}, "no core": {resource.RLIMIT_CORE: 0}, "small stack": {resource.RLIMIT_STACK: 1 << 18},
                         "few addresses": {resource.RLIMIT_AS: 400 << 20}, "fewer addresses": {resource.RLIMIT_AS: 250 << 20}, "files of 4 KiB": {resource.RLIMIT_FSIZE: 4096}}.items():
        yield Attempt(name, ["run", *args, "in", "-o", f"l {name}", "--threads", "1"], codes=(0, 1, 2, 3, 5), right=lambda code, o=f"l {name}": (same if code == 0 else part)(o)(code), limits=limits)
    for name, size in {"full at once": "4k", "nearly full": "16k", "full later": "48k"}.items():
        if mounted(d / name, f"size={size}"):
            yield Attempt(name, ["run", *args, "in", "-o", name], codes=(1, 2, 3), right=part(name))
            subprocess.run(["umount", str(d / name)])
    if mounted(d / "read only", "ro"):
        yield Attempt("read only", ["run", *args, "in", "-o", "read only/out"], codes=(1, 2, 3))
        yield Attempt("optimize to read only", ["optimize", "m.onnx", "-o", "read only/o.onnx", "--precision", "fp32"], codes=(2, 3))
        yield Attempt("report to read only", ["evaluate", "usual", "usual", "--csv", "read only/x.csv"], codes=(1, 2, 3))
        subprocess.run(["umount", str(d / "read only")])
    victim = d / "victim.txt"
    victim.write_text("mine\n")
    unharmed = lambda: [] if victim.read_text() == "mine\n" else ["a file was written through a link"]
    for name in ("c0_mask.png", "cases.csv", "c0_ampoule.json", "failures.csv", "runs.json", "qc.html", "c0_overlay.png"):
        out = d / f"link {name}"
        out.mkdir()
        os.symlink(victim, out / name)
        yield Attempt(f"{name} is a link", ["run", *args, "in", "-o", out.name], codes=(0, 1, 2, 3), after=unharmed)
        other = d / f"folder {name}"
        (other / name).mkdir(parents=True)
        yield Attempt(f"{name} is a folder", ["run", *args, "in", "-o", other.name], codes=(0, 1, 2, 3))
    (d / "elsewhere").mkdir()
    os.symlink(d / "elsewhere", d / "link")
    yield Attempt("the output is a link to a folder", ["run", *args, "in", "-o", "link"], codes=(0, 2), right=lambda code: same("elsewhere")(code) if code == 0 else [])
    os.symlink(d / "nowhere", d / "dangling")
    yield Attempt("the output is a link to nothing", ["run", *args, "in", "-o", "dangling"], codes=(0, 2, 3))
    # Entries of a folder that are no files.
    shutil.copytree(d / "in", d / "odd")
    os.mkfifo(d / "odd/pipe.png")
    (d / "odd/folder.png").mkdir()
    os.symlink("nowhere.png", d / "odd/dangling.png")
    os.symlink("loop.png", d / "odd/loop.png")
    os.symlink("/dev/zero", d / "odd/device.png")
    here = os.getcwd()
    os.chdir(d / "odd")
    with socket.socket(socket.AF_UNIX) as s:
        s.bind("socket.png")
    os.chdir(here)
    os.utime(d / "odd/c0.png", (0, -10**9))
    os.utime(d / "odd/c1.png", (0, 2**40))
    yield Attempt("odd entries", ["run", *args, "odd", "-o", "o odd"], codes=(1,), right=same("o odd"))
    yield Attempt("odd entries again", ["run", *args, "odd", "-o", "o odd"], codes=(1,), right=same("o odd"))
    # A result that was changed is made again or refused, never kept.
    def spoil(code):
        (d / "again/c0_mask.png").write_bytes((d / "usual/c1_mask.png").read_bytes())
        return []
    yield Attempt("first", ["run", *args, "in", "-o", "again"], codes=(0,), right=spoil)
    yield Attempt("with a changed result", ["run", *args, "in", "-o", "again"], codes=(0, 1, 2), right=lambda code: same("again")(code) if code == 0 else [])

    def other_input(code):
        (d / "in2/c0.png").write_bytes(sources[3].read_bytes())
        return []
    shutil.copytree(d / "in", d / "in2")
    yield Attempt("first of a changed input", ["run", *args, "in2", "-o", "changed"], codes=(0,), right=other_input)

    def follows(code):
        now = digest(d / "changed")
        return [] if now["c0_mask.png"] == wanted["c3_mask.png"] else ["the old result was kept"]
    yield Attempt("with a changed input", ["run", *args, "in2", "-o", "changed"], codes=(0, 1, 2), right=lambda code: follows(code) if code == 0 else [])
    for n in (2, 4):
        others = []

        def start(n=n, others=others):
            for i in range(n - 1):
                others.append(subprocess.Popen([str(AMPOULE[0]), "run", *map(str, args), "in", "-o", f"both{n}", "--threads", "1"], cwd=d, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))

        def joined(code, n=n, others=others):
            codes = [p.wait(60) for p in others]
            return ([f"the others end with {codes}"] if any(codes) else []) + same(f"both{n}")(code)
        yield Attempt(f"{n} processes", ["run", *args, "in", "-o", f"both{n}", "--threads", "1"], codes=(0,), right=joined, before=start)


AMPOULE = [None]


def limits(d):
    """Every command under limits on memory: kept, or refused with the same figure."""
    args = discs(d)
    segmenter(d / "v.onnx")
    rng = np.random.default_rng(0)
    nibabel.save(nibabel.Nifti1Image(rng.integers(0, 99, (150, 140, 130)).astype(np.int16), np.eye(4)), d / "v.nii.gz")
    nibabel.save(nibabel.Nifti1Image(rng.random((96, 96, 96)), np.eye(4)), d / "doubles.nii")
    nibabel.save(nibabel.Nifti1Image((rng.random((150, 140, 130)) > 0.5).astype(np.uint8), np.eye(4)), d / "t.nii.gz")
    Image.fromarray(np.kron(rng.integers(0, 255, (150, 200, 3)), np.ones((16, 16, 1))).astype(np.uint8)).save(d / "p.jpg")
    Image.fromarray(np.kron(rng.integers(0, 255, (150, 200, 3)), np.ones((16, 16, 1))).astype(np.uint8)).save(d / "p.png")
    tifffile.imwrite(d / "p.tif", np.kron(rng.integers(0, 65535, (100, 150, 3)), np.ones((16, 16, 1))).astype(np.uint16), compression="zlib", photometric="rgb")
    with tifffile.TiffWriter(d / "s.tif") as out:
        level = np.kron(rng.integers(0, 255, (128, 128, 3)), np.ones((32, 32, 1))).astype(np.uint8)
        for i in range(3):
            out.write(level[::2**i, ::2**i], tile=(256, 256), compression="jpeg", photometric="rgb", subfiletype=int(i > 0), resolution=(20000, 20000), resolutionunit="CENTIMETER")
    text = pathlib.Path(args[2]).read_text() + '\n[slide]\nmpp = 1.0\nwindow = 256\ntissue = "none"\n'
    (d / "slide.toml").write_text(text)
    Image.fromarray((rng.random((1500, 2000)) > 0.5).astype(np.uint8)).save(d / "l.png")
    commands = {
        "volume": ["run", "v.onnx", "v.nii.gz"], "doubles": ["run", "v.onnx", "doubles.nii"], "jpeg": ["run", *args, "p.jpg"], "png": ["run", *args, "p.png"], "tiff": ["run", *args, "p.tif"],
        "slide": ["run", "m.onnx", "s.tif", "--recipe", "slide.toml"], "volumes compared": ["evaluate", "t.nii.gz", "t.nii.gz"], "tiles compared": ["evaluate", "l.png", "l.png"],
        "plan": ["plan", "v.onnx", "v.nii.gz"], "inspect": ["inspect", "m.onnx", "--profile", "--size", "512"], "compare": ["compare", "m.onnx", "m.onnx"],
        "optimize": ["optimize", *args, "--precision", "bf16"], "volume, two threads": ["run", "v.onnx", "v.nii.gz", "--threads", "2"], "tta": ["run", *args, "p.png", "--save-probabilities"],
    }
    for name, command in commands.items():
        figures, first = {}, {}
        for mib in (4, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 256, 384, 512):
            out = ["-o", f"o {name} {mib}" + (".onnx" if command[0] == "optimize" else "")] if command[0] in ("run", "optimize") else []
            if "--threads" not in command and command[0] != "evaluate":
                out += ["--threads", "1"]
            a = Attempt(f"{name} in {mib} MiB", [*command, *out, "--max-ram", f"{mib}M"], codes=(0, 5), mib=max(mib, FLOOR))

            def right(code, a=a, mib=mib, figures=figures, first=first, name=name):
                if code == 5:
                    told = NEEDS.search(a.said)
                    if not told:
                        return [f"no figure: {a.said[-200:]!r}"]
                    what, needed = re.sub(r"\d+", "n", told[1]), int(told[2])
                    wrong = [f"it needs {needed} MiB, and is refused {mib}"] if needed <= mib else []
                    # What the program itself holds differs a little from run to run.
                    if abs(figures.setdefault(what, needed) - needed) > APART:
                        wrong.append(f"{what} needs {figures[what]} or {needed} MiB")
                    return wrong
                masks = digest(d / f"o {name} {mib}") if command[0] == "run" else {}
                first.setdefault("masks", masks)
                return [] if masks == first["masks"] else ["the result depends on the limit"]
            a.right = right
            yield a


# A process holds its own code whatever its limit; what it holds beside what it plans differs from run to run.
FLOOR, APART = 36, 4

ALL = (odd_machines, limits)
