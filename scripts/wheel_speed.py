"""`Model.run` of the wheel beside the binary's engine: `wheel_speed.py AMPOULE MODEL... [--threads 1,2] [--seconds 1] [--rounds 9]`.

Each round runs the same model on values of the same size: in this process by `ampoule_ai`, NumPy arrays in and out, and by
`ampoule bench` in a process of its own, one after the other and the next round the other way round. The least and the middle
of the medians of the rounds are compared; the exit code is 1 where the wheel's least is more than 3 % above the binary's (20 microseconds
for small networks, which is what a call from Python takes). Networks have one input. Needs ampoule_ai and NumPy.
"""

import argparse
import json
import pathlib
import statistics
import subprocess
import sys
import time

import ampoule_ai
import numpy as np

MOST, CALL = 0.03, 0.02


def wheel(model, array, seconds):
    """Median milliseconds of a run in this process."""
    model.run(array)
    taken, end = [], time.perf_counter() + seconds
    while time.perf_counter() < end or len(taken) < 5:
        begun = time.perf_counter()
        model.run(array)
        taken.append(1000 * (time.perf_counter() - begun))
    return statistics.median(taken)


def binary(program, path, threads, seconds):
    """What `bench` printed: the median milliseconds and the shape of the input among it."""
    command = [program, "bench", path, "--threads", str(threads), "--seconds", str(seconds), "--json"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{path}: {done.stderr.strip()}")
    return json.loads(done.stdout.splitlines()[0])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("ampoule")
    parser.add_argument("models", nargs="+", type=pathlib.Path)
    parser.add_argument("--threads", default="1,2")
    parser.add_argument("--seconds", type=float, default=1)
    parser.add_argument("--rounds", type=int, default=9)
    args = parser.parse_args()
    print("| network | threads | wheel, least ms | binary, least ms | least | middle |")
    print("|---|---|---|---|---|---|")
    slow = 0
    for path in args.models:
        for threads in map(int, args.threads.split(",")):
            model = ampoule_ai.Model.open(path, threads=threads)
            shape = binary(args.ampoule, path, threads, 0.05)["shape"]
            array = np.random.default_rng(1).standard_normal(shape).astype(np.float32)
            own, theirs = [], []
            for turn in range(args.rounds):
                for one in (0, 1) if turn % 2 else (1, 0):
                    if one:
                        own.append(wheel(model, array, args.seconds))
                    else:
                        theirs.append(binary(args.ampoule, path, threads, args.seconds)["median_ms"])
            ratio = min(own) / min(theirs)
            slow += min(own) > max((1 + MOST) * min(theirs), min(theirs) + CALL)
            middle = statistics.median(a / b for a, b in zip(own, theirs))
            print(f"| {path.stem} | {threads} | {min(own):.3f} | {min(theirs):.3f} | {ratio:.3f} | {middle:.3f} |", flush=True)
    print(f"\nslower than {MOST:.0%}: {slow}")
    sys.exit(slow > 0)


if __name__ == "__main__":
    main()
