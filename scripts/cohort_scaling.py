"""Cases per hour of a cohort on Ray, one and two workers, beside PyTorch in Ray: `cohort_scaling.py MODEL RECIPE TABLE WORK`.

The cases are the photos in the column `file` of a table, for a classifier at one size, such as dfu_vgg11 with recipes/dfu.toml
and the patches of scripts/paper_cases.py; `--cases` takes so many of them, at even distances. PyTorch runs the same network, eagerly and node by node as a study's kind `pytorch` does, in Ray actors that
prepare the photo with Pillow and NumPy as the recipe says; its classes must be those of the cohort. Each worker has one core and one
thread. Starting the cluster, the workers and the models is not counted: every run is timed between its first and its last
finished case. Engines take turns, `--rounds` times, and the table has the medians. A machine on which something else runs says
nothing about speed, so its load is printed too. WORK gets the cohorts' folders and page.md, what is printed at the end.
Needs ampoule_ai, Ray, PyTorch, ONNX, Pillow and NumPy.
"""

import argparse
import csv
import datetime
import importlib.metadata
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np
import onnx
import ray
from PIL import Image

ROOT = pathlib.Path(__file__).resolve().parent.parent
MEAN = np.array([0.485, 0.456, 0.406], np.float32)
DEVIATION = np.array([0.229, 0.224, 0.225], np.float32)


def bound(model, side):
    """The model's bytes with a batch of one photo."""
    network = onnx.load(model)
    for axis, size in zip(network.graph.input[0].type.tensor_type.shape.dim, (1, 3, side, side)):
        axis.ClearField("dim_param")
        axis.dim_value = size
    return network.SerializeToString()


@ray.remote(num_cpus=1)
class Eager:
    """A worker that holds the network in PyTorch."""

    def __init__(self, network, side):
        self.side = side
        self.folder = tempfile.mkdtemp()
        model = os.path.join(self.folder, "network.onnx")
        pathlib.Path(model).write_bytes(network)
        # Under its own name it would stand in the way of the library, which Python searches beside the script first.
        script = shutil.copy(ROOT / "crates/study/src/torch.py", os.path.join(self.folder, "eager.py"))
        command = [sys.executable, script, model, "1"]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        if not self.process.stdout.readline():
            raise RuntimeError("PyTorch's process ended before it was ready")

    def ready(self):
        return True

    def run(self, file):
        photo = Image.open(file).convert("RGB").resize((self.side, self.side), Image.BILINEAR)
        x = ((np.asarray(photo, np.float32) / 255 - MEAN) / DEVIATION).transpose(2, 0, 1)
        np.ascontiguousarray(x, "<f4").tofile(f"{self.folder}/in0.f32")
        print("run", self.folder, file=self.process.stdin, flush=True)
        if not self.process.stdout.readline():
            raise RuntimeError("PyTorch's process ended")
        return int(np.fromfile(f"{self.folder}/out0.f32", "<f4").argmax())

    def close(self):
        self.process.stdin.close()
        self.process.wait()
        shutil.rmtree(self.folder)


def pytorch(network, side, files, workers):
    """Cases per hour, and the class of each case."""
    pool = [Eager.remote(network, side) for _ in range(workers)]
    ray.get([w.ready.remote() for w in pool])
    ray.get([w.run.remote(files[0]) for w in pool])
    found, waiting, running, ends = {}, list(enumerate(files)), {}, []
    for worker in pool:
        i, file = waiting.pop(0)
        running[worker.run.remote(file)] = (i, worker)
    while running:
        [done], _ = ray.wait(list(running), num_returns=1)
        i, worker = running.pop(done)
        found[i] = ray.get(done)
        ends.append(time.monotonic())
        if waiting:
            j, file = waiting.pop(0)
            running[worker.run.remote(file)] = (j, worker)
    ray.get([w.close.remote() for w in pool])
    [ray.kill(w) for w in pool]
    return rate(ends), [found[i] for i in range(len(files))]


def ampoule(model, recipe, manifest, out, workers):
    """Cases per hour, and the class of each case by its name."""
    from ampoule_ai.ray import run_cohort

    shutil.rmtree(out, ignore_errors=True)
    ends = []
    note = lambda *_: ends.append(time.monotonic())  # noqa: E731
    run_cohort(manifest, model, out, recipe=recipe, workers=workers, threads=1, memory="600M", progress=note).check()
    with open(out / "cases.csv", newline="") as table:
        return rate(ends), {r["case"]: r["class"] for r in csv.DictReader(table)}


def rate(ends):
    return 3600 * (len(ends) - 1) / (ends[-1] - ends[0])


def processor():
    """The model of the CPU, as the system names it."""
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "unknown CPU")


def chosen(table, count):
    """Files of the table, at most `count` of them at even distances."""
    # Photos lie beside the table, or in a folder with its name.
    own = table.parent / table.stem
    root = own if own.is_dir() else table.parent
    with open(table, newline="") as opened:
        files = [(root / row["file"]).resolve() for row in csv.DictReader(opened)]
    if count and count < len(files):
        files = [files[i * len(files) // count] for i in range(count)]
    return [str(f) for f in files]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("model", "recipe", "table", "work"):
        parser.add_argument(name, type=pathlib.Path)
    parser.add_argument("--classes", default="normal skin,ulcer", help="names of the classes in their order")
    parser.add_argument("--side", type=int, default=128, help="side of the photos in pixels")
    parser.add_argument("--cases", type=int, default=0, help="cases to run; 0 for all of the table")
    parser.add_argument("--rounds", type=int, default=3, help="how often each is timed")
    args = parser.parse_args()
    classes = args.classes.split(",")
    files = chosen(args.table, args.cases)
    if len(files) < 3 or args.rounds < 1:
        sys.exit("it takes 3 cases and a round")
    args.work.mkdir(parents=True, exist_ok=True)
    manifest = args.work / "cases.csv"
    names = [f"case{i:05}" for i in range(len(files))]
    with open(manifest, "w", newline="") as opened:
        csv.writer(opened).writerows([("case", "file"), *zip(names, files)])
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    load = os.getloadavg()[0]
    network = bound(args.model, args.side)
    rates, differ = {}, {}
    for turn in range(args.rounds):
        for workers in (1, 2):
            rate_torch, theirs = pytorch(network, args.side, files, workers)
            out = args.work / f"cohort{workers}"
            rate_own, own = ampoule(args.model, args.recipe, manifest, out, workers)
            ours = [classes.index(own[name]) for name in names]
            differ[workers] = sum(a != b for a, b in zip(theirs, ours))
            rates.setdefault(("PyTorch in Ray", workers), []).append(rate_torch)
            rates.setdefault(("ampoule in Ray", workers), []).append(rate_own)
            print(f"round {turn + 1}, {workers} workers: PyTorch {rate_torch:.0f}, ampoule {rate_own:.0f} an hour", flush=True)
    page = report(args, len(files), rates, differ, load)
    (args.work / "page.md").write_text(page)
    print(page, end="")


def report(args, count, rates, differ, load):
    """What is printed: where and when it ran, and the table."""
    version = importlib.metadata.version
    packages = ", ".join(f"{name} {version(name)}" for name in ("torch", "ray", "ampoule-ai"))
    lines = [
        f"{count} cases, {args.model.name}, {datetime.date.today()}, {processor()}, {os.cpu_count()} cores, load {load:.1f} before and "
        f"{os.getloadavg()[0]:.1f} after; {packages}; medians of {args.rounds} rounds. Classes that differ from PyTorch's: "
        f"{differ[1]} with one worker, {differ[2]} with two.",
        "",
        "| engine | cases per hour, 1 worker | 2 workers | 1 to 2 | of PyTorch, 1 and 2 workers |",
        "|---|---|---|---|---|",
    ]
    median = {key: statistics.median(values) for key, values in rates.items()}
    for engine in ("PyTorch in Ray", "ampoule in Ray"):
        one, two = (median[engine, w] for w in (1, 2))
        beside = [median[engine, w] / median["PyTorch in Ray", w] for w in (1, 2)]
        lines.append(f"| {engine} | {one:.0f} | {two:.0f} | {two / one:.2f} | {beside[0]:.2f}, {beside[1]:.2f} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
