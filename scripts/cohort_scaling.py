"""Cases per hour of a cohort on Ray, one and two workers, beside PyTorch in Ray: `cohort_scaling.py MODEL RECIPE MANIFEST WORK`.

The cases are photos of a classifier at one size, such as dfu_vgg11 with recipes/dfu.toml and the patches of
scripts/paper_cases.py. PyTorch runs the same network, eagerly and node by node as a study's kind `pytorch` does, in Ray actors that
prepare the photo with Pillow and NumPy as the recipe says; its classes must be those of the cohort. Each worker has one core and one
thread. Starting the cluster, the workers and the models is not counted: every run is timed between its first and its last
finished case. A machine on which something else runs says nothing about speed, so its load is printed too. Needs ampoule_ai, Ray, PyTorch, ONNX,
Pillow and NumPy.
"""

import argparse
import csv
import os
import pathlib
import shutil
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
        script = ROOT / "crates/study/src/torch.py"
        command = [sys.executable, str(script), model, "1"]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.process.stdout.readline()

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


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("model", "recipe", "manifest", "work"):
        parser.add_argument(name, type=pathlib.Path)
    parser.add_argument("--classes", default="normal skin,ulcer", help="names of the classes in their order")
    parser.add_argument("--side", type=int, default=128, help="side of the photos in pixels")
    args = parser.parse_args()
    classes = args.classes.split(",")
    with open(args.manifest, newline="") as table:
        rows = list(csv.DictReader(table))
    files = [str((args.manifest.parent / r["file"]).resolve()) for r in rows]
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    print(f"{len(files)} cases, {args.model.name}; {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    network = bound(args.model, args.side)
    rates, found = {}, {}
    for workers in (1, 2):
        rates["PyTorch in Ray", workers], found["torch"] = pytorch(network, args.side, files, workers)
        out = args.work / f"cohort{workers}"
        rates["ampoule in Ray", workers], own = ampoule(args.model, args.recipe, args.manifest, out, workers)
        found["own"] = [classes.index(own[r["case"]]) for r in rows]
        differ = sum(a != b for a, b in zip(found["torch"], found["own"]))
        print(f"{workers} workers: {differ} of {len(files)} classes differ from PyTorch's", flush=True)
    print("| engine | cases per hour, 1 worker | 2 workers | 1 to 2 | of PyTorch, 1 and 2 workers |\n|---|---|---|---|---|")
    for engine in ("PyTorch in Ray", "ampoule in Ray"):
        one, two = (rates[engine, w] for w in (1, 2))
        beside = [rates[engine, w] / rates["PyTorch in Ray", w] for w in (1, 2)]
        print(f"| {engine} | {one:.0f} | {two:.0f} | {two / one:.2f} | {beside[0]:.2f}, {beside[1]:.2f} |")
    print(f"load at the end {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
