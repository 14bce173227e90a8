#!/usr/bin/env python3
"""Runs each network of a folder at the least --max-ram that the program names, and measures that it keeps it.

    python3 scripts/memory_limits.py AMPOULE FOLDER [NAME...] [--size 64] [--threads 2]

For every *.onnx of FOLDER (NAME: only those whose name contains one of them) the program is asked to run under a limit that
nothing fits, says how much it needs, and is run under just that: `ampoule inspect --profile`. The largest resident memory
that the system saw (VmHWM) must not be above the limit, runs under less must be refused and take no more than that limit, and the figure
that is named must be the same whatever the limit is. Prints a row a network; exit code 1 where one is above, where figures
differ, or where a run under the named limit is refused. Needs only Python, on Linux.
"""
import argparse
import os
import pathlib
import re
import subprocess
import sys
import tempfile

# What a process holds besides the network differs a little from one to the next, in MiB.
APART = 4
# A second run may hold a little more or less beside the network than the first.
ATTEMPTS = 6
REFUSED = re.compile(r"(\d+) MiB.*the limit is (\d+) MiB", re.S)


def run(binary, model, limit, a):
    """Exit code, what was said, and the largest resident memory in KiB."""
    command = [binary, "inspect", str(model), "--profile", "--json", "--size", a.size, "--threads", str(a.threads),
               "--max-ram", f"{limit}M"]
    with tempfile.TemporaryFile() as said:
        p = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=said)
        _, status, usage = os.wait4(p.pid, 0)
        said.seek(0)
        return os.waitstatus_to_exitcode(status), said.read().decode(errors="replace"), usage.ru_maxrss


def least(binary, model, a):
    """The least limit that is accepted, and the peak under it in MiB; a sentence where there is none."""
    limit = 1
    for _ in range(ATTEMPTS):
        code, said, peak = run(binary, model, limit, a)
        if code == 0:
            return limit, peak / 1024
        needs = REFUSED.search(said)
        if code != 5 or not needs:
            return f"exit code {code}: {said.strip()}"
        if int(needs[1]) <= limit:
            return f"it says that it needs {needs[1]} MiB, and refuses {limit} MiB"
        limit = int(needs[1])
    return f"refused {ATTEMPTS} times, each time with a larger need than before; {limit} MiB at last"


def elsewhere(binary, model, limit, a):
    """What is wrong under limits below the one that was named: the figure, or the memory that a refusal takes."""
    wrong = []
    for share in (0.25, 0.5, 0.9):
        lower = int(limit * share)
        code, said, peak = run(binary, model, lower, a)
        needs = REFUSED.search(said)
        if code != 5 or not needs:
            wrong.append(f"exit code {code} under {lower} MiB")
        elif abs(int(needs[1]) - limit) > APART:
            wrong.append(f"{needs[1]} MiB are named under {lower}")
        elif peak / 1024 > limit:
            wrong.append(f"peak {peak / 1024:.1f} MiB while {lower} are refused")
    return wrong


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    p.add_argument("ampoule")
    p.add_argument("folder", type=pathlib.Path)
    p.add_argument("names", nargs="*")
    p.add_argument("--size", default="64")
    p.add_argument("--threads", type=int, default=2)
    a = p.parse_args()
    wanted = [m for m in sorted(a.folder.glob("*.onnx")) if not a.names or any(n in m.name for n in a.names)]
    if not wanted:
        sys.exit(f"{a.folder}: there are no such networks")
    failed = 0
    for model in wanted:
        found = least(a.ampoule, model, a)
        kept = not isinstance(found, str) and found[1] <= found[0]
        row = found if isinstance(found, str) else f"limit {found[0]} MiB, peak {found[1]:.1f} MiB"
        if kept and (wrong := elsewhere(a.ampoule, model, found[0], a)):
            kept, row = False, "; ".join([row, *wrong])
        failed += not kept
        print(f"{'ok  ' if kept else 'FAIL'} {model.stem}: {row}", flush=True)
    print(f"{len(wanted) - failed} of {len(wanted)} networks keep the least limit that is named")
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
