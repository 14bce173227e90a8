#!/usr/bin/env python3
"""Ends the program at random moments and checks that the same command, run again, makes what an undisturbed run makes.

    .venv/bin/python scripts/kill_matrix.py AMPOULE [--kills 100] [--only head,photos] [--seed N] [--keep FOLDER]

| task | |
|---|---|
| head | volumes with windows, masks, brains, scores and pictures |
| photos | classes, tables |
| tiles | masks of photos |
| slide | pyramidal slides by windows, outlines and score maps |
| optimize | INT8 with accuracy control: calibration, findings, file |
| training | pruning and training with a checkpoint after every epoch |
| study | three variants in processes of their own, report |

Each trial begins with an empty output folder, ends the command once to three times (SIGKILL, SIGTERM, SIGINT), the last
time running it to its end. After every end each file under a final name must be that of the undisturbed run, byte by byte where
nothing tells of times; SIGTERM and SIGINT must leave no temporary file (but the lock of a case that was being written), and end with
143 and 130. At last nothing but the files of
the undisturbed run may be there, neither in the output folder nor in that of the system's temporary files. Prints a row a
task; ends with 1 if anything is off. Needs the environment of scripts/oracles.sh.
"""

import argparse
import dataclasses
import hashlib
import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import nibabel
import numpy as np
import onnx
import tifffile
from onnx import TensorProto, helper, numpy_helper

HERE = pathlib.Path(__file__).resolve().parent.parent
QUICK = HERE / "assets" / "quick"
CODES = {signal.SIGTERM: 143, signal.SIGINT: 130}
# What a process may take that has been asked to end: the case at hand and its tables.
PATIENCE = 30
# Keys of records and results that tell of times, memory and who did it.
VOLATILE = {"timings_ms", "peak_rss_mib", "threads", "finished", "seconds", "cells", "machine", "time", "started", "host", "pid",
            "sensitivity", "run", "tiles_per_second", "network_share", "command"}
TEMPORARY = (".tmp-", "-lock")


@dataclasses.dataclass
class Task:
    name: str
    make: object  # writes inputs into a folder and gives the arguments behind the program's name, up to the output
    output: str = "out"  # a folder, or a file
    cases: int = 0


def network(path, channels, axes, labels, hidden=0):
    """Convolutions of three pixels, or with `hidden` a classifier; small, with seeded weights."""
    rng = np.random.default_rng(3)
    nodes, constants = [], []

    def tensor(name, array):
        constants.append(numpy_helper.from_array(array.astype(np.float32), name))
        return name

    spatial = ["d", "h", "w"][3 - axes:]
    width = hidden or labels
    nodes.append(helper.make_node("Conv", ["image", tensor("w1", rng.normal(size=(width, channels, *[3] * axes))),
                                           tensor("b1", rng.normal(size=width))], ["scores" if not hidden else "c"],
                                  pads=[1] * (2 * axes)))
    shape = [1, labels, *spatial]
    if hidden:
        nodes += [helper.make_node("Relu", ["c"], ["r"]), helper.make_node("GlobalAveragePool", ["r"], ["p"]),
                  helper.make_node("Flatten", ["p"], ["f"]),
                  helper.make_node("Gemm", ["f", tensor("w2", rng.normal(size=(hidden, labels))),
                                            tensor("b2", rng.normal(size=labels))], ["scores"])]
        shape = [1, labels]
    info = helper.make_tensor_value_info
    graph = helper.make_graph(nodes, "network", [info("image", TensorProto.FLOAT, [1, channels, *spatial])],
                              [info("scores", TensorProto.FLOAT, shape)], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    onnx.save(model, path)


def recipe(path, kind, task, labels, more=""):
    lines = ["version = 2", "[model]", 'name = "small"', f'task = "{task}"', "[[input]]", 'name = "image"', f'kind = "{kind}"',
             more, "[[network]]", 'activation = "softmax"']
    if kind == "volume":
        lines.append('window = { size = [32, 32, 32], overlap = 0.5, blend = "gaussian" }')
    for k in range(labels):
        lines += ["[[label]]", f'name = "label{k}"']
    path.write_text("\n".join(lines) + "\n")


def copies(folder, count, source="test"):
    """The small study's tiles under so many names, in two folders."""
    files = sorted((QUICK / source).glob("*.png"))
    for n in range(count):
        place = folder / "ab"[n % 2]
        place.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(files[n % len(files)], place / f"case{n:03}.png")


def head(d):
    network(d / "m.onnx", 1, 3, 3)
    recipe(d / "m.toml", "volume", "segmentation", 3, '[[preprocess]]\nstep = "z-score"')
    (d / "in").mkdir()
    rng = np.random.default_rng(1)
    for n in range(12):
        z, y, x = np.mgrid[:48, :56, :40]
        ball = 300 * np.exp(-((z - 24) ** 2 + (y - 28 - n % 3) ** 2 + (x - 20) ** 2) / 200)
        image = nibabel.Nifti1Image((ball + rng.normal(size=ball.shape) * 9).astype(np.int16), np.diag([2, 2, 3, 1]))
        nibabel.save(image, d / "in" / f"head{n:02}.nii.gz")
    return ["run", "m.onnx", "in", "--recipe", "m.toml", "--save-probabilities"]


def photos(d):
    network(d / "m.onnx", 3, 2, 3, hidden=8)
    recipe(d / "m.toml", "image", "classification", 3, '[[preprocess]]\nstep = "resize"\nsize = [64, 64]\nmethod = "bilinear"')
    copies(d / "in", 60)
    return ["run", "m.onnx", "in", "--recipe", "m.toml"]


def tiles(d):
    copies(d / "in", 40)
    return ["run", str(QUICK / "discs.onnx"), "in", "--recipe", str(HERE / "recipes" / "discs.toml")]


def slide(d):
    rng = np.random.default_rng(4)
    (d / "in").mkdir()
    for n in range(3):
        side = 1024
        y, x = np.mgrid[:side, :side]
        tissue = ((y - 500) ** 2 + (x - 480) ** 2 < 400**2)[..., None]
        image = np.where(tissue, [190, 90, 150], [243, 243, 243]) + rng.integers(-14, 15, (side, side, 3))
        image = np.clip(image, 0, 255).astype(np.uint8)
        with tifffile.TiffWriter(d / "in" / f"slide{n}.tif") as t:
            for level, down in enumerate((1, 4)):
                t.write(image[::down, ::down], tile=(256, 256), photometric="rgb", compression="zlib", subfiletype=int(level > 0),
                        metadata=None, resolution=(20_000 / down, 20_000 / down), resolutionunit="CENTIMETER")
    text = (HERE / "recipes" / "discs.toml").read_text()
    (d / "m.toml").write_text(text + '\n[slide]\nmpp = 0.5\nwindow = 256\noverlap = 0.25\ntissue = "otsu"\nsmallest = 100.0\n')
    return ["run", str(QUICK / "discs.onnx"), "in", "--recipe", "m.toml", "--save-probabilities"]


def optimize(d):
    return ["optimize", str(QUICK / "discs.onnx"), "--recipe", str(HERE / "recipes" / "discs.toml"), "--calibrate",
            str(QUICK / "calibrate"), "--validate", str(QUICK / "validate"), "--truth", str(QUICK / "truth"), "--max-drop",
            "dice=0.0001", "--max-drop", "agreement=0.0001"]


def training(d):
    return ["optimize", str(QUICK / "discs.onnx"), "--recipe", str(HERE / "recipes" / "discs.toml"), "--finetune",
            str(QUICK / "validate"), "--labels", str(QUICK / "truth"), "--validate", str(QUICK / "test"), "--truth",
            str(QUICK / "truth"), "--prune", "0.5", "--prune-steps", "2", "--qat", "--qat-epochs", "1", "--patch", "32", "--batch",
            "2", "--steps", "4", "--epochs", "3", "--max-drop", "dice=0.5"]


def study(d):
    (d / "study.toml").write_text(f"""version = 1
name = "small"
rounds = 3
seconds = 0.02
[[profile]]
name = "one"
threads = 1
[[variant]]
name = "original"
kind = "original"
[[variant]]
name = "int8"
kind = "int8"
[[variant]]
name = "controlled"
kind = "int8-controlled"
[[workload]]
name = "discs"
model = "{QUICK}/discs.onnx"
recipe = "{HERE}/recipes/discs.toml"
calibrate = "{QUICK}/calibrate"
validate = "{QUICK}/validate"
validate-truth = "{QUICK}/truth"
test = "{QUICK}/test"
truth = "{QUICK}/truth"
margins = {{ dice = 0.02, hd95 = 3.0 }}
timed = 2
""")
    return ["study", "study.toml"]


TASKS = [Task("head", head), Task("photos", photos), Task("tiles", tiles), Task("slide", slide),
         Task("optimize", optimize, "small.onnx"), Task("training", training, "small.onnx"), Task("study", study)]


def files(folder):
    return {str(p.relative_to(folder)): p for p in sorted(folder.rglob("*")) if not p.is_dir()}


def temporary(name):
    base = name.rsplit("/", 1)[-1]
    return any(t in base for t in TEMPORARY)


def plain(value):
    """What JSON says, without what tells of times."""
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items() if k not in VOLATILE}
    return [plain(v) for v in value] if isinstance(value, list) else value


def content(path, whole):
    """What a file says that must be the same, or `None` where nothing must. Tables and pages grow with the cases, so that they
    are compared at the end only (`whole`)."""
    name = path.name
    try:
        if name.endswith(".json"):
            if name in ("runs.json",):
                return json.dumps([e["fingerprint"] for e in json.loads(path.read_text())])
            return json.dumps(plain(json.loads(path.read_text())), sort_keys=True)
    except (ValueError, KeyError, TypeError) as e:
        return f"damaged: {e!r}"
    if name.endswith((".html", ".jsonl", ".journal", ".training", ".csv")) and not whole:
        return None
    if name.endswith((".html", ".jsonl")) or name in ("results.csv", "population.csv"):
        return None
    if name in ("cases.csv", "predictions.csv"):
        rows = path.read_text().splitlines()
        head = rows[0].split(",")
        kept = [i for i, h in enumerate(head) if h not in ("seconds", "peak_mib", "status")]
        # Inputs here have no commas in their names and no warnings with them.
        return "\n".join(",".join(r.split(",")[i] for i in kept if i < len(r.split(","))) for r in rows)
    return hashlib.sha256(path.read_bytes()).hexdigest()


class Bench:
    """A task with its undisturbed run."""

    def __init__(self, ampoule, task, root):
        self.ampoule, self.task, self.root = ampoule, task, root
        self.home = root / "home"
        self.home.mkdir(parents=True)
        self.arguments = task.make(self.home)
        self.scratch = root / "tmp"
        self.wrong = []
        begun = time.monotonic()
        code, said = self.run(root / "reference", None, None)
        self.seconds = time.monotonic() - begun
        self.code = code
        if code not in (0, 4):
            sys.exit(f"{task.name}: the undisturbed run ended with {code}: {said[-800:]}")
        self.reference = self.contents(root / "reference", True)

    def place(self, folder):
        return folder / self.task.output

    def command(self, folder):
        # A study's file says how many threads.
        threads = [] if self.arguments[0] == "study" else ["--threads", "2"]
        return [self.ampoule, *self.arguments, "-o", str(self.place(folder)), "--quiet", *threads]

    def run(self, folder, moment, how):
        """Runs the command; ends it after `moment` seconds with the signal `how`. Gives its code and what it said; a code of
        `None` where it had ended before."""
        folder.mkdir(exist_ok=True)
        shutil.rmtree(self.scratch, ignore_errors=True)
        self.scratch.mkdir()
        environment = {**os.environ, "TMPDIR": str(self.scratch), "AMPOULE_MODELS": str(self.root / "models")}
        hear = lambda: (signal.signal(signal.SIGINT, signal.SIG_DFL), signal.signal(signal.SIGTERM, signal.SIG_DFL))
        with tempfile.TemporaryFile() as said:
            child = subprocess.Popen(self.command(folder), cwd=self.home, stdout=said, stderr=said, env=environment, preexec_fn=hear)
            if moment is not None:
                try:
                    child.wait(moment)
                except subprocess.TimeoutExpired:
                    child.send_signal(how)
                else:
                    moment = None
            try:
                code = child.wait(PATIENCE if moment is not None else 600)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
                code = "nothing: it did not end"
            said.seek(0)
            return code, said.read().decode(errors="replace")

    def contents(self, folder, whole):
        return {name: content(p, whole) for name, p in files(folder).items()}

    def off(self, text):
        self.wrong.append(text)

    def look(self, folder, how, code, ended, trial):
        """What lies there after the command was ended."""
        at = f"trial {trial}, {how.name}"
        if ended and how in CODES and code not in (CODES[how], self.code):
            self.off(f"{at}: it ended with {code}, not {CODES[how]}")
        for name, found in self.contents(folder, False).items():
            if temporary(name):
                # The lock of a case whose results were taking their names says so, for whoever goes on.
                path = folder / name
                mark = name.endswith("-lock") and path.exists() and "writing" in path.read_text().split()
                if how in CODES and not mark:
                    self.off(f"{at}: {name} is left")
            elif name not in self.reference:
                if not name.endswith((".journal", ".training", "failures.csv")):
                    self.off(f"{at}: {name} is no file of the undisturbed run")
            elif found is not None and self.reference[name] is not None and not name.endswith(".csv"):
                if found != self.reference[name]:
                    self.off(f"{at}: {name} stands there and differs")
        for name in files(self.scratch):
            self.off(f"{at}: {name} is left among the system's temporary files")

    def trial(self, rng, number, kills):
        """Ends a run `kills` times, then lets it end by itself; gives how often it was ended by what."""
        folder = self.root / "out"
        shutil.rmtree(folder, ignore_errors=True)
        done = []
        for _ in range(kills):
            how = rng.choice([signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
            moment = rng.uniform(0, self.seconds / (1 + len(done) / 2))
            code, said = self.run(folder, moment, how)
            ended = code == -how or code in (130, 143)
            if ended:
                done.append(how.name)
            elif code not in (self.code, 0):
                # A finished file is refused, and that is the word for it.
                if not (code == 2 and "exists" in said):
                    self.off(f"trial {number}, {how.name}: code {code}: {said.strip()[-300:]}")
            self.look(folder, how, code, ended, number)
        code, said = self.run(folder, None, None)
        finished = code == 2 and self.place(folder).is_file() and "exists" in said
        if code != self.code and not finished:
            self.off(f"trial {number}, {done}: the last run ended with {code}: {said.strip()[-400:]}")
        found = self.contents(folder, True)
        for name in sorted(found.keys() | self.reference.keys()):
            if name not in found:
                self.off(f"trial {number}, {done}: {name} is missing at last")
            elif name not in self.reference:
                self.off(f"trial {number}, {done}: {name} is left at last")
            elif found[name] != self.reference[name]:
                self.off(f"trial {number}, {done}: {name} differs at last")
        for name in files(self.scratch):
            self.off(f"trial {number}: {name} is left among the system's temporary files at last")
        return done


def main():
    parse = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parse.add_argument("ampoule")
    parse.add_argument("--kills", type=int, default=100, help="in all, over the tasks in turns")
    parse.add_argument("--only", help="names of tasks, with commas")
    parse.add_argument("--seed", type=int)
    parse.add_argument("--keep", type=pathlib.Path, help="folder to work in and to leave")
    a = parse.parse_args()
    seed = a.seed if a.seed is not None else random.randrange(10**6)
    rng = random.Random(seed)
    chosen = [t for t in TASKS if not a.only or t.name in a.only.split(",")]
    if not chosen:
        sys.exit("no such task")
    ampoule = str(pathlib.Path(a.ampoule).resolve())
    print(f"seed {seed}", flush=True)
    bad = total = 0
    with tempfile.TemporaryDirectory(prefix="kill-matrix-") as temporary_folder:
        work = a.keep or pathlib.Path(temporary_folder)
        for i, task in enumerate(chosen):
            wanted = a.kills // len(chosen) + (i < a.kills % len(chosen))
            bench = Bench(ampoule, task, work / task.name)
            counts, trials, idle = {}, 0, 0
            while sum(counts.values()) < wanted and idle < 20:
                left = wanted - sum(counts.values())
                done = bench.trial(rng, trials, min(left, rng.choice([1, 1, 2, 3])))
                trials += 1
                idle = 0 if done else idle + 1
                for name in done:
                    counts[name] = counts.get(name, 0) + 1
            hit = sum(counts.values())
            if hit < wanted:
                bench.off(f"only {hit} of {wanted} runs were still at work when they were to be ended")
            total += hit
            bad += len(bench.wrong)
            kinds = ", ".join(f"{n} {k}" for k, n in sorted(counts.items()))
            print(f"{'FAIL' if bench.wrong else 'ok  '} {task.name}: {hit} ended ({kinds}) in {trials} trials, "
                  f"{bench.seconds:.1f} s undisturbed, {len(bench.reference)} files", flush=True)
            for text in bench.wrong[:20]:
                print("     " + text, flush=True)
    print(f"{total} runs ended, {bad} findings")
    sys.exit(bad > 0)


if __name__ == "__main__":
    main()
