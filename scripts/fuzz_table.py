#!/usr/bin/env python3
"""Prints what the logs of `scripts/fuzz.sh` tell, a row a target.

    scripts/fuzz_table.py FOLDER

FOLDER holds `logs/` and `artifacts/`, as cargo-fuzz and `scripts/fuzz.sh` write them. Executions and seconds are sums over all
logs; coverage is the largest that a run came to, in edges; findings are runs that ended with one, by what libFuzzer calls it.
"""

import collections
import pathlib
import re
import sys

DONE = re.compile(r"^Done (\d+) runs in (\d+) second", re.M)
UNITS = re.compile(r"^stat::number_of_executed_units: (\d+)", re.M)
COVERED = re.compile(r"\bcov: (\d+)")
FOUND = re.compile(r"^SUMMARY: libFuzzer: ([\w -]+)|^SUMMARY: AddressSanitizer: ([\w-]+)", re.M)


def row(logs):
    """Executions, seconds, edges, and findings by kind of the texts of logs."""
    runs = seconds = edges = 0
    found = collections.Counter()
    for text in logs:
        done, units = DONE.search(text), UNITS.search(text)
        runs += int(units[1]) if units else int(done[1]) if done else 0
        seconds += int(done[2]) if done else 0
        edges = max([edges, *map(int, COVERED.findall(text))])
        found.update((a or b).strip() for a, b in FOUND.findall(text))
    return runs, seconds, edges, found


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    targets = collections.defaultdict(list)
    for path in sorted(pathlib.Path(sys.argv[1], "logs").glob("*.log")):
        targets[path.name.split(".")[0]].append(path.read_text(errors="replace"))
    print("| target | executions | seconds | edges | findings |")
    print("|---|---|---|---|---|")
    total = 0
    for target, logs in sorted(targets.items()):
        runs, seconds, edges, found = row(logs)
        total += runs
        words = ", ".join(f"{n} {kind}" for kind, n in sorted(found.items())) or "none"
        print(f"| {target} | {runs:,} | {seconds:,} | {edges:,} | {words} |")
    print(f"\n{total:,} executions in all")


if __name__ == "__main__":
    main()
