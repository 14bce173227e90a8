#!/usr/bin/env python3
"""Times every kernel of the registry, keeps the times, and compares them with kept ones as ratios.

    python3 scripts/kernel_times.py [NAME] [--save FILE] [--baseline FILE] [--from FILE] [--noise 1.15]

Runs `cargo bench -p ampoule-kernels` (NAME: only benchmarks whose name contains it), or reads what that printed with
--from. A kernel's time is the fastest of its samples, which a busy machine can only make slower. --save writes a JSON file;
--baseline compares with one of the same CPU: kernels whose time changed by more than --noise either way are listed as now
/ before, with the geometric mean of all; exit code 4 where one is slower by more than that. Needs only Python and Cargo.
"""
import argparse
import json
import math
import pathlib
import re
import subprocess
import sys

UNITS = {"ns": 1.0, "µs": 1e3, "μs": 1e3, "us": 1e3, "ms": 1e6, "s": 1e9}
ROW = re.compile(r"^[│ ]*[├╰]─ (\S+)\s+([\d.]+) (ns|µs|μs|us|ms|s)\s")


def cpu():
    """Marketing name of this CPU."""
    lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else "unknown"


def parsed(text):
    """The fastest time of each kernel in nanoseconds, by name, as divan's table has them."""
    found = {}
    for line in text.splitlines():
        if row := ROW.match(line):
            name, number, unit = row.groups()
            found[name] = float(number) * UNITS[unit]
    return found


def measured(name):
    command = ["cargo", "bench", "--quiet", "-p", "ampoule-kernels", "--bench", "kernels"]
    command += ["--", name] if name else []
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"`{' '.join(command)}` ended with {done.returncode}")
    return done.stdout


def compared(now, before, noise):
    """Prints what changed; whether anything is slower."""
    both = sorted(set(now) & set(before))
    if not both:
        sys.exit("the baseline has none of these kernels")
    ratios = {k: now[k] / before[k] for k in both}
    for k in sorted(both, key=ratios.get, reverse=True):
        if not 1 / noise <= ratios[k] <= noise:
            print(f"{ratios[k]:6.2f}  {k}: {now[k] / 1e3:.2f} µs, {before[k] / 1e3:.2f} µs in the baseline")
    mean = math.exp(sum(map(math.log, ratios.values())) / len(ratios))
    slower = sum(r > noise for r in ratios.values())
    faster = sum(r < 1 / noise for r in ratios.values())
    print(f"{len(both)} kernels: geometric mean {mean:.3f} of the baseline's time; {slower} slower and {faster} "
          f"faster by more than {noise}")
    for what, only in (("not in the baseline", set(now) - set(before)), ("only in the baseline", set(before) - set(now))):
        if only:
            print(f"{what}: {', '.join(sorted(only))}")
    return slower > 0


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    p.add_argument("name", nargs="?")
    p.add_argument("--save", metavar="FILE", type=pathlib.Path)
    p.add_argument("--baseline", metavar="FILE", type=pathlib.Path)
    p.add_argument("--from", dest="source", metavar="FILE", type=pathlib.Path)
    p.add_argument("--noise", type=float, default=1.15)
    a = p.parse_args()
    before = json.loads(a.baseline.read_text()) if a.baseline else None
    if before and before["cpu"] != cpu():
        sys.exit(f"{a.baseline}: it was taken on `{before['cpu']}`; this CPU is `{cpu()}`")
    now = parsed(a.source.read_text() if a.source else measured(a.name))
    if not now:
        sys.exit("no kernel was timed")
    if a.save:
        a.save.write_text(json.dumps({"cpu": cpu(), "ns": now}, indent=1, sort_keys=True) + "\n")
        print(f"{len(now)} times are in {a.save}")
    if before and compared(now, before["ns"], a.noise):
        sys.exit(4)


if __name__ == "__main__":
    main()
