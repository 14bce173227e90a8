"""What a registry takes, from the plan of a sample and the output folder of a run of it.

    ampoule plan MODEL SAMPLE --json > plan.json
    ampoule run MODEL SAMPLE -o out
    python3 scripts/cohort_figures.py plan.json --cases 100000 --outputs out
"""

import argparse
import csv
import json
import os
import platform
import statistics


def size_of(folder):
    """Bytes of all files below a folder."""
    return sum(os.path.getsize(os.path.join(p, f)) for p, _, files in os.walk(folder) for f in files)


def cases_of(folder):
    """Rows of a folder's table of cases that have results."""
    with open(os.path.join(folder, "cases.csv"), newline="") as table:
        return [row for row in csv.DictReader(table) if row["status"] in ("done", "kept")]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("plan", help="what `ampoule plan --json` printed")
    parser.add_argument("--cases", type=int, required=True, help="cases of the registry")
    parser.add_argument("--outputs", help="output folder of a run of the sample")
    parser.add_argument("--processes", default="1,16,256", help="processes side by side")
    args = parser.parse_args()
    with open(args.plan) as file:
        plan = json.load(file)
    sample = plan["cases"]
    if not sample or sample[0].get("seconds") is None:
        raise SystemExit("the plan holds no seconds; run `ampoule plan` without --no-seconds")
    seconds = statistics.mean(c["seconds"] for c in sample)
    cores = max(c["cores"] for c in sample)
    hours = args.cases * seconds / 3600
    print(f"machine: {platform.machine()}, {os.cpu_count()} cores; sample of {len(sample)} cases")
    print(f"error of the time: {100 * plan['calibration']['error']:.0f} %")
    print(f"{args.cases} cases of {seconds:.1f} s on {cores} cores: {hours * cores:.0f} core hours")
    print(f"memory a process: {plan['maximum']['peak_memory_mib']} MiB")
    for processes in map(int, args.processes.split(",")):
        print(f"  {processes} processes of {cores} cores: {hours / processes:.1f} h")
    if args.outputs:
        rows = cases_of(args.outputs)
        measured = [float(row["seconds"]) for row in rows if row["seconds"]]
        if measured:
            own = statistics.mean(measured)
            print(f"measured by the run: {own:.1f} s a case, {args.cases * own * cores / 3600:.0f} core hours")
        peaks = [float(row["peak_mib"]) for row in rows if row["peak_mib"]]
        if peaks:
            print(f"highest resident memory of the run: {max(peaks):.0f} MiB")
        each = size_of(args.outputs) / max(len(rows), 1)
        print(f"storage of results: {each / 2**20:.2f} MiB a case, {each * args.cases / 2**30:.0f} GiB in all")


if __name__ == "__main__":
    main()
