"""Holds segmentation to its memory rule: labels are decided while scores stream in, under `--max-ram`.

    .venv/bin/python scripts/verify_memory.py AMPOULE [--size 400x400x600] [--case NAME]... [--overlap 0.5]
        [--limits none,4G,2G,1G,700M] [--threads 1]

Makes small networks, recipes and images in a temporary folder and runs every case without a limit and with several.
A limit is a number of bytes with K, M or G, or a share of the first run's peak (`90%`). Each run must end with code 0 and
a peak of resident memory within the limit, or with code 5 and a sentence; all labels of a case must be the same, and
those that numpy expects where the case has an answer. The networks see one pixel at a time, so blending changes nothing and
the answer is a function of the pixel. `plan` is asked under each limit too: what it lets pass stays below, and every figure that a
refusal of either names must be the same, whatever the limit. Prints a line a run and what `inspect` said; ends with 1 when a run
is off, or when `inspect` itself takes more than the limit.

| case | |
|---|---|
| same | 120 labels, argmax, windows of 64³, the network's grid is the image's |
| spacing | 120 labels, argmax, the network's grid has voxels of 3 mm, scores return linearly |
| regions | 3 overlapping labels |
| probabilities | 5 labels on 256³ with --save-probabilities |
| photo | 8000x6000 pixels, a network of 256² |
| jpeg | the same as a JPEG |
"""
import argparse
import dataclasses
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time

import nibabel
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from PIL import Image
from scipy import ndimage

Image.MAX_IMAGE_PIXELS = None
UNITS = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
# Beside a change of label a float32 sum may fall on either side.
CLOSE = 2e-4
# What a process holds beside its plans differs a little from one to the next, in MiB.
APART = 4
NAMED = re.compile(r"(\d+) MiB.*the limit is (\d+) MiB", re.S)
# Seconds after which a run or `inspect` is ended.
RUN, INSPECT = 3600, 20


@dataclasses.dataclass
class Case:
    name: str
    size: tuple  # x, y, z; x, y of a photo
    labels: int
    limits: list
    activation: str = "none"
    rule: str = "argmax"
    spacing: float = 0.0
    window: int = 64
    options: tuple = ()

    @property
    def flat(self):
        return len(self.size) == 2


def cases(size, overlap):
    """All cases in the order in which they run."""
    wide = ["none", "4G", "2G", "1G", "700M"]
    shares = ["none", "97%", "90%", "80%", "65%", "50%", "25%"]
    return [
        Case("same", size, 120, wide),
        Case("spacing", size, 120, wide, spacing=3.0),
        Case("regions", size, 3, shares, activation="sigmoid", rule="regions"),
        Case("probabilities", (256, 256, 256), 5, shares, activation="softmax", options=("--save-probabilities",)),
        Case("photo", (8000, 6000), 3, [*shares, "256M"], activation="softmax", window=256),
        Case("jpeg", (8000, 6000), 3, [*shares, "256M"], activation="softmax", window=256),
    ]


def write_network(path, case):
    """One convolution of one pixel from the image's channels to the labels; gives its weights and biases."""
    rng = np.random.default_rng(5)
    channels, axes = (3, 2) if case.flat else (1, 3)
    weights = rng.normal(size=(case.labels, channels)).astype(np.float32)
    biases = rng.normal(size=case.labels).astype(np.float32)
    spatial = [case.window] * axes if case.flat else ["d", "h", "w"]
    info = lambda name, n: helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, n, *spatial])
    kernel = numpy_helper.from_array(weights.reshape(case.labels, channels, *[1] * axes), "weights")
    graph = helper.make_graph(
        [helper.make_node("Conv", ["image", "weights", "biases"], ["scores"])], "network",
        [info("image", channels)], [info("scores", case.labels)], [kernel, numpy_helper.from_array(biases, "biases")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    onnx.save(model, path)
    return weights, biases


def write_recipe(path, case, overlap):
    kind = "image" if case.flat else "volume"
    lines = ["version = 2", "[model]", f'name = "{case.name}"', 'task = "segmentation"', "[[input]]", 'name = "image"',
             f'kind = "{kind}"']
    if case.flat:
        lines += ['colours = "rgb"', "[[preprocess]]", 'step = "divide"', "by = 255.0"]
    if case.spacing:
        lines += ["[[preprocess]]", 'step = "resample"', f"spacing = {case.spacing}", 'rule = "monai"',
                  'method = "linear"', 'back = "linear"']
    if not case.flat:
        lines += ["[[preprocess]]", 'step = "z-score"']
    lines += ["[[network]]", f'activation = "{case.activation}"']
    if not case.flat:
        lines.append(f'window = {{ size = [{", ".join([str(case.window)] * 3)}], overlap = {overlap}, blend = "gaussian" }}')
    lines += ["[decide]", f'rule = "{case.rule}"']
    # Regions leave 0 to the background.
    first = 1 if case.rule == "regions" else 0
    for k in range(case.labels):
        lines += ["[[label]]", f'name = "label{k}"', f"value = {k + first}", f"channel = {k}"]
    path.write_text("\n".join(lines) + "\n")


def smooth(rng, size):
    """Noise on a grid of 20 pixels, between them linear."""
    coarse = rng.normal(size=[max(2, n // 20) for n in size]).astype(np.float32)
    ratio = [n / m for n, m in zip(size, coarse.shape)]
    return ndimage.zoom(coarse, ratio, order=1, mode="nearest", grid_mode=True)


def write_image(folder, case):
    rng = np.random.default_rng(1)
    if case.flat:
        bands = [smooth(rng, case.size[::-1]) for _ in range(3)]
        pixels = np.stack([np.clip(128 + 60 * b, 0, 255).astype(np.uint8) for b in bands], -1)
        path = folder / ("photo.jpg" if case.name == "jpeg" else "photo.png")
        Image.fromarray(pixels).save(path, **({"quality": 95} if case.name == "jpeg" else {"compress_level": 1}))
    else:
        path = folder / ("volume_" + "x".join(map(str, case.size)) + ".nii")
        if not path.exists():
            image = nibabel.Nifti1Image((300 * smooth(rng, case.size)).astype(np.int16), np.eye(4))
            nibabel.save(image, path)
    return path


def read(path):
    """A label map or a photo, as it is stored."""
    if path.suffix in (".png", ".jpg"):
        return np.asarray(Image.open(path))
    return np.asarray(nibabel.load(path).dataobj)


def scores(case, weights, biases, values):
    """What the network and its activation make of the pixels of `values`, labels last."""
    out = values @ weights.T.astype(np.float64) + biases
    if case.activation == "sigmoid":
        return 1 / (1 + np.exp(-out))
    if case.activation == "softmax":
        out = np.exp(out - out.max(-1, keepdims=True))
        return out / out.sum(-1, keepdims=True)
    return out


def inputs(case, image):
    """The network's inputs as a function of a slice along the last axis of storage."""
    if case.flat:
        return lambda rows: image[rows].reshape(-1, 3) / 255
    total, n = image.sum(dtype=np.float64), image.size
    mean = total / n
    squares = sum(((image[..., z] - mean) ** 2).sum(dtype=np.float64) for z in range(image.shape[2]))
    deviation = (squares / n) ** 0.5
    return lambda planes: ((image[..., planes].astype(np.float64) - mean) / deviation).reshape(-1, 1)


def wrong(case, weights, biases, image, labels):
    """How many of a sample of planes' labels are not those that numpy finds, ties left out."""
    of, axis = inputs(case, image), 0 if case.flat else 2
    off, count = 0, image.shape[axis]
    for i in np.unique(np.linspace(0, count - 1, 24).astype(int)):
        part = slice(i, i + 1)
        found = scores(case, weights, biases, of(part))
        own = (labels[part] if case.flat else labels[..., part]).reshape(-1)
        if case.rule == "regions":
            above = found > 0.5
            expected = np.where(above.any(-1), case.labels - np.argmax(above[:, ::-1], -1), 0)
            sure = np.abs(found - 0.5).min(-1) > CLOSE
        else:
            expected = found.argmax(-1)
            top = np.partition(found, -2, -1)
            sure = top[:, -1] - top[:, -2] > CLOSE
        off += int(((own != expected) & sure).sum())
    return off


def bytes_of(limit, first_peak):
    """A limit in bytes, `None` where there is none."""
    if limit == "none":
        return None
    if limit.endswith("%"):
        return int(first_peak * float(limit[:-1]) / 100)
    return int(float(limit[:-1]) * UNITS[limit[-1]])


# The peak of a child counts its parent's pages before `exec`, so a small process starts it.
STARTER = """
import os, signal, sys
pid = os.fork()
if pid == 0:
    signal.alarm(int(sys.argv[2]))
    os.execvp(sys.argv[3], sys.argv[3:])
_, status, usage = os.wait4(pid, 0)
with open(sys.argv[1], "w") as file:
    print(os.waitstatus_to_exitcode(status), usage.ru_maxrss * 1024, file=file)
"""


def measured(command, longest):
    """Exit code (minus the signal's number where it took too long), peak of resident memory in bytes, seconds, and what was
    said."""
    with tempfile.TemporaryDirectory() as folder:
        report = pathlib.Path(folder) / "usage"
        begun = time.monotonic()
        done = subprocess.run([sys.executable, "-S", "-c", STARTER, report, str(longest), *command], stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, errors="replace")
        seconds = time.monotonic() - begun
        code, peak = map(int, report.read_text().split())
    return code, peak, seconds, done.stdout.strip()


def inspected(ampoule, folder, case, limit):
    """What `inspect` says before: its line of the recipe, or why there is none; and whether it kept to the limit itself."""
    size = [1, *case.size[::-1]] if case.flat else case.size[::-1]
    # Where the file leaves sizes free, `inspect` also plans one run on all of the image, so the line needs a limit
    # above that.
    command = [ampoule, "inspect", folder / "network.onnx", "--recipe", folder / "recipe.toml", "--threads", "1",
               "--size", "x".join(map(str, size)), "--max-ram", str(limit or 1 << 40)]
    code, peak, seconds, text = measured(list(map(str, command)), INSPECT)
    line = [l for l in text.splitlines() if l.startswith("recipe `")]
    said = text.splitlines()[0] if text else "nothing said"
    told = line[0] if line else f"exit code {code}: {said}"
    over = limit is not None and peak > limit
    return f"{told} (own peak {peak >> 20} MiB{', above the limit' if over else ''}, {seconds:.1f} s)", over


def planned(ampoule, folder, path, case, threads, most):
    """What `plan` says under a limit: what is wrong with it, and the figure that it names where it refuses."""
    command = [ampoule, "plan", folder / "network.onnx", path, "--recipe", folder / "recipe.toml", "--threads", threads,
               "--no-seconds", "--max-ram", most, *case.options]
    code, _, _, text = measured(list(map(str, command)), RUN)
    passed, named = re.search(r"at most (\d+) MiB", text), NAMED.search(text)
    if code == 0 and passed and int(passed[1]) <= most >> 20:
        return [], None
    if code == 5 and named:
        return [], int(named[1])
    return [f"plan ends with {code}: {text[-200:]}"], None


def check(ampoule, root, case, overlap, threads):
    """Runs a case under its limits; how many runs are off."""
    folder = root / case.name
    folder.mkdir()
    weights, biases = write_network(folder / "network.onnx", case)
    write_recipe(folder / "recipe.toml", case, overlap)
    path = write_image(root, case)
    size = "x".join(map(str, case.size))
    print(f"{case.name}: {case.labels} labels on {size}\n  inspect: {inspected(ampoule, folder, case, None)[0]}", flush=True)
    bad, first, first_peak, figures = 0, None, None, set()
    for limit in case.limits:
        most = bytes_of(limit, first_peak)
        if most is None and limit != "none":
            continue
        out = folder / "out"
        shutil.rmtree(out, ignore_errors=True)
        command = [ampoule, "run", folder / "network.onnx", path, "-o", out, "--recipe", folder / "recipe.toml",
                   "--threads", threads, "--quiet", *case.options, *(["--max-ram", str(most)] if most else [])]
        code, peak, seconds, text = measured(list(map(str, command)), RUN)
        found = []
        if code not in (0, 5) or code == 5 and (most is None or not text):
            found.append(f"exit code {code}: {text[-200:]}")
        if most and peak > most:
            found.append(f"{(peak - most) >> 20} MiB above the limit")
        if code == 0:
            labels = read(next(out.glob("*_mask.*")))
            if first is None:
                first, first_peak = labels, peak
                found += expected(case, weights, biases, read(path), labels, out)
            elif not np.array_equal(first, labels):
                found.append(f"{np.count_nonzero(first != labels)} labels differ from the first run's")
        if most:
            more, figure = planned(ampoule, folder, path, case, threads, most)
            found += more
            refusal = NAMED.search(text) if code == 5 else None
            figures |= {n for n in (figure, int(refusal[1]) if refusal else None) if n is not None}
        told = "unlimited" if most is None else f"{most / (1 << 20):.0f} MiB"
        print(f"  {'FAIL' if found else 'ok  '} limit {told:>10} peak {peak / (1 << 20):6.0f} MiB code {code} {seconds:6.1f} s"
              f" {'; '.join(found)}{' | ' + text.splitlines()[0] if code == 5 and text else ''}", flush=True)
        bad += bool(found)
        if most:
            told, over = inspected(ampoule, folder, case, most)
            print(f"       inspect: {told}", flush=True)
            bad += over
    if figures and max(figures) - min(figures) > APART:
        print(f"  FAIL refusals name {sorted(figures)} MiB", flush=True)
        bad += 1
    return bad


def expected(case, weights, biases, image, labels, out):
    """What is not as numpy finds it."""
    # Decoders of JPEG may differ by a level, and scores with them.
    if case.spacing or case.name == "jpeg":
        return []
    found = []
    off = wrong(case, weights, biases, image, labels)
    if off:
        found.append(f"{off} labels of the sample are not numpy's")
    if "--save-probabilities" in case.options:
        plane = image.shape[2] // 2
        want = scores(case, weights, biases, inputs(case, image)(slice(plane, plane + 1)))
        for k in range(1, case.labels):
            own = np.asarray(nibabel.load(out / f"{case_stem(out)}_prob_label{k}.nii").dataobj[..., plane]).reshape(-1)
            most = np.abs(own - want[:, k]).max()
            if most > 1e-5:
                found.append(f"probabilities of label{k} are up to {most:.1e} off")
    return found


def case_stem(out):
    return re.sub(r"_mask\..*", "", next(out.glob("*_mask.*")).name)


def main():
    parse = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parse.add_argument("ampoule")
    parse.add_argument("--size", default="400x400x600", help="x, y, z of the label cases")
    parse.add_argument("--case", action="append", help="only these")
    parse.add_argument("--limits", help="instead of the cases' own")
    parse.add_argument("--overlap", type=float, default=0.5)
    parse.add_argument("--threads", default="1")
    given = parse.parse_args()
    size = tuple(int(n) for n in given.size.split("x"))
    bad = 0
    with tempfile.TemporaryDirectory(prefix="verify_memory_") as root:
        for case in cases(size, given.overlap):
            if given.case and case.name not in given.case:
                continue
            if given.limits:
                case.limits = given.limits.split(",")
            bad += check(given.ampoule, pathlib.Path(root), case, given.overlap, given.threads)
    print(f"{bad} runs are off" if bad else "all runs are as they should be")
    sys.exit(bool(bad))


if __name__ == "__main__":
    main()
