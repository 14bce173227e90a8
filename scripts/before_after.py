#!/usr/bin/env python3
"""Times `ampoule run` of two builds side by side, in pairs, after a pair that is not counted.

    python scripts/before_after.py BEFORE AFTER [--pairs 5] [--recipes R_BEFORE R_AFTER] -- MODEL INPUT... [OPTION...]

BEFORE and AFTER are binaries; --recipes names a recipe for each where they read other versions. Prints the median, least
and largest of after/before (above 1: slower), the median seconds of each, and the largest peaks of resident memory. Needs
only Python, on Linux.
"""
import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time


def run(binary, arguments):
    """Seconds and peak MiB of one run into a new folder."""
    with tempfile.TemporaryDirectory() as out:
        begun = time.monotonic()
        p = subprocess.Popen([binary, "run", *arguments, "-o", out, "--quiet"])
        _, status, usage = os.wait4(p.pid, 0)
        seconds = time.monotonic() - begun
    if status != 0:
        sys.exit(f"{binary} run {' '.join(arguments)} ended with {os.waitstatus_to_exitcode(status)}")
    return seconds, usage.ru_maxrss / 1024


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    p.add_argument("before")
    p.add_argument("after")
    p.add_argument("--pairs", type=int, default=5)
    p.add_argument("--recipes", nargs=2, metavar=("R_BEFORE", "R_AFTER"))
    p.add_argument("arguments", nargs="+", help="of `run`, after --")
    a = p.parse_args()
    recipes = [["--recipe", r] for r in a.recipes] if a.recipes else [[], []]
    builds = [(binary, a.arguments + recipe) for binary, recipe in zip((a.before, a.after), recipes)]
    pairs = [[run(*b) for b in builds] for _ in range(a.pairs + 1)][1:]
    ratios = [after[0] / before[0] for before, after in pairs]
    seconds = [statistics.median(pair[i][0] for pair in pairs) for i in (0, 1)]
    peaks = [max(pair[i][1] for pair in pairs) for i in (0, 1)]
    print(f"after/before {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f}); "
          f"{seconds[1]:.2f} against {seconds[0]:.2f} s; peak {peaks[1]:.0f} against {peaks[0]:.0f} MiB")


if __name__ == "__main__":
    main()
