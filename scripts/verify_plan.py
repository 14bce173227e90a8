"""Plans against real runs: `verify_plan.py AMPOULE MODEL INPUT WORK [run's options, such as --recipe FILE --threads 1]`.

Every case of INPUT is planned, then run by a process of its own. Memory: the highest resident memory of the process must not be
above the plan, and the plan not more than 15 % (or 6 MiB, of small processes) above it where it is no upper bound; else the exit
code is 1. Time: what was
planned and what was measured, with the error that the plan gives itself. On a machine on which something else runs, times say
little; its load is printed. `--most N` before the other arguments takes N cases. Needs Linux and Python alone.
"""

import csv
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

MOST_ABOVE, SMALL = 1.15, 6 << 20

arguments = sys.argv[1:]
most = None
if arguments[0] == "--most":
    most, arguments = int(arguments[1]), arguments[2:]
ampoule, model, given, work, *options = arguments
work = Path(work)
shutil.rmtree(work, ignore_errors=True)
work.mkdir(parents=True)

text = subprocess.run([ampoule, "plan", model, given, "--json", *options], capture_output=True, text=True, check=True).stdout
plan = json.loads(text)
cases = plan["cases"][:most]
print(f"{len(cases)} cases; load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores; the plan's own error of times {100 * plan['calibration']['error']:.0f} %")
print("case                    memory: planned  measured  above | seconds: planned  measured  start planned")
wrong, ratios = 0, []
for i, case in enumerate(cases):
    out = work / f"out{i}"
    begun = time.monotonic()
    process = subprocess.Popen([ampoule, "run", model, case["input"], "-o", out, "--quiet", *options], stderr=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    wall = time.monotonic() - begun
    if status:
        sys.exit(f"{case['case']}: the run ended with {os.waitstatus_to_exitcode(status)}")
    [row] = csv.DictReader(open(out / "cases.csv", newline=""))
    planned, measured = case["peak_memory_bytes"], used.ru_maxrss << 10
    # How much of the image a network sees may depend on its content: then the plan is of all of it.
    close = case["upper_bound"] or planned <= max(MOST_ABOVE * measured, measured + SMALL)
    fine = measured <= planned and close
    wrong += not fine
    ratios.append(case["seconds"] / float(row["seconds"]))
    print(
        f"{case['case'][:24]:24} {planned / 2**20:14.1f} {measured / 2**20:9.1f} {100 * (planned / measured - 1):5.1f} % |"
        f" {case['seconds']:16.2f} {float(row['seconds']):9.2f} {plan['calibration']['start_seconds']:8.2f}"
        f" ({wall:.2f} with the start){'  (upper bound)' if case['upper_bound'] else ''}{'' if fine else '  WRONG'}",
        flush=True,
    )
    shutil.rmtree(out)
print(f"time: planned over measured, median {statistics.median(ratios):.2f}, from {min(ratios):.2f} to {max(ratios):.2f}")
print(f"memory: {len(cases) - wrong} of {len(cases)} within the limits")
sys.exit(wrong > 0)
