"""The page of a study's figures: `paper_page.py STUDY/results.json PAGE [--commit HASH] [--note SENTENCE]`.

Written by a script from what `ampoule study` found: which variant to use, then for every workload each variant's time, memory and
utility beside the baseline's. Needs only Python.
"""

import argparse
import datetime
import json
from pathlib import Path


def number(value, digits=2):
    return "" if value is None else f"{value:.{digits}f}"


def interval(estimate, digits=2):
    if not estimate:
        return ""
    value = number(estimate["value"], digits)
    return f"{value} ({number(estimate['low'], digits)} to {number(estimate['high'], digits)})"


def milliseconds(value):
    return f"{value:.1f}" if value < 1000 else f"{value:.0f}"


def times(study, workload, profile):
    """A row for each variant under a profile: time, speed beside the baseline and PyTorch, memory."""
    cells = {c["variant"]: c for c in study["cells"] if (c["workload"], c["profile"]) == (workload["name"], profile)}
    torch = cells.get("pytorch")
    base = cells.get(study["baseline"])
    yield "| variant | network, ms | whole case, ms | speedup of the case (95 %) | of PyTorch's | peak, MiB | of PyTorch's |"
    yield "|---|---|---|---|---|---|---|"
    for variant in workload["variants"]:
        cell = cells.get(variant["name"])
        if cell is None or cell["error"]:
            why = cell["error"] if cell else variant["error"] or "not measured"
            yield f"| {variant['name']} | {' '.join(why.split())[:140]} | | | | | |"
            continue
        beside = times_of = ""
        if torch and not torch["error"]:
            beside = number(torch["total_ms"] / cell["total_ms"])
            if cell["peak_mib"] and torch["peak_mib"]:
                times_of = number(cell["peak_mib"] / torch["peak_mib"])
        speed = "" if cell is base else interval(cell["speedup_total"])
        yield (
            f"| {variant['name']} | {milliseconds(cell['network_ms'])} | {milliseconds(cell['total_ms'])} | {speed} | {beside} | "
            f"{number(cell['peak_mib'], 0)} | {times_of} |"
        )


def utility(study, workload):
    """A row for each variant and metric with a margin."""
    yield "| variant | MB | metric | baseline | variant | mean loss at most (limit) | cases that lose much, at most (limit) | verdict |"
    yield "|---|---|---|---|---|---|---|---|"
    for variant in workload["variants"]:
        if variant["name"] == study["baseline"]:
            continue
        name, size = variant["name"], f"{variant['bytes'] / 1e6:.2f}"
        if variant["error"]:
            yield f"| {name} | | {' '.join(variant['error'].split())[:140]} | | | | | |"
        for metric in variant["utility"]:
            verdict = metric.get("verdict")
            if verdict is None:
                continue
            mean, cases = metric.get("mean_claim"), metric.get("case_claim")
            needed = max((claim["needed"] or 0 for claim in (mean, cases) if claim), default=0)
            more = f"; {needed} groups would" if verdict == "not-established" and needed > metric["groups"] else ""
            loss = f"{number(mean['bounds'][1], 4)} ({mean['limit']:g})" if mean and mean["bounds"] else ""
            share = f"{cases['lost']} of {metric['groups']}: {100 * cases['share'][1]:.1f} % ({100 * cases['limit']:g} %)" if cases and cases["share"] else ""
            yield (
                f"| {name} | {size} | {metric['metric']}{':' + metric['class'] if metric.get('class') else ''} ({metric['n']}) | "
                f"{number(metric.get('baseline'), 4)} | {number(metric.get('variant'), 4)} | {loss} | {share} | "
                f"{verdict}{more} |"
            )
            name, size = "", ""


def ratios(study):
    """Speed of variants beside the baseline and PyTorch over all profiles: geometric mean of what was measured."""
    yield "| workload | profile | " + " | ".join(v["name"] for v in study["workloads"][0]["variants"] if v["name"] != study["baseline"]) + " |"
    names = [v["name"] for v in study["workloads"][0]["variants"] if v["name"] != study["baseline"]]
    yield "|---|---|" + "---|" * len(names)
    for workload in study["workloads"]:
        for profile in study["spec"]["profile"]:
            cells = {c["variant"]: c for c in study["cells"] if (c["workload"], c["profile"]) == (workload["name"], profile["name"])}
            row = []
            for name in names:
                cell = cells.get(name)
                estimate = cell and not cell["error"] and cell["speedup_total"]
                row.append(number(estimate["value"]) if estimate else ("failed" if cell and cell["error"] else ""))
            yield f"| {workload['name']} | {profile['name']} | " + " | ".join(row) + " |"


def page(study, commit, note):
    machine, spec = study["machine"], study["spec"]
    day = datetime.datetime.fromtimestamp(study["finished"], datetime.timezone.utc).date()
    seconds = sum(v["seconds"] for w in study["workloads"] for v in w["variants"])
    yield "# The paper's experiment, measured"
    yield ""
    yield (
        f"`{study['command']}`, ended on {day}, {commit}, on {machine['cpu']} with {machine['cores']} cores and {machine['memory_mib']} MiB, "
        f"{machine['system']}; feature sets {', '.join(machine['tiers'])}. Written by `scripts/paper_page.py`. Variants were made in "
        f"{seconds / 60:.0f} minutes. Commands, kinds of variants and how it is measured: [studies](studies.md#the-papers-experiment); the two claims of "
        "*non-inferior*: [evidence](evidence.md). Times hold for this machine only."
    )
    if note:
        yield ""
        yield note
    first = spec["profile"][0]["name"]
    for workload in study["workloads"]:
        calibration, validation, test = workload["cases"]
        yield ""
        yield f"## {workload['name']}"
        yield ""
        yield f"{calibration} cases to calibrate and train, {validation} to validate, {test} to test{' with ground truth' if workload['truth'] else '; the baseline is the reference'}. Times under `{first}`, medians of {spec['rounds']} rounds."
        yield ""
        yield from times(study, workload, first)
        yield ""
        yield from utility(study, workload)
        for note in workload.get("notes", []):
            yield ""
            yield f"Note: {note}"
    yield ""
    yield "## All profiles"
    yield ""
    yield "The baseline's time of a whole case over the variant's, under each profile. `avx2` holds this engine to AVX2 and peers where they can be held."
    yield ""
    yield from ratios(study)
    failed = sorted({(c["workload"], c["variant"], c["profile"], " ".join(c["error"].split())[:160]) for c in study["cells"] if c["error"]})
    if failed:
        yield ""
        yield "Not measured, with the reason:"
        yield ""
        for workload, variant, profile, why in failed:
            yield f"- {workload}, {variant}, {profile}: {why}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path)
    parser.add_argument("page", type=Path)
    parser.add_argument("--commit", default="", help="of the program that measured")
    parser.add_argument("--note", default="", help="what else is to be known of the run")
    args = parser.parse_args()
    study = json.loads(args.results.read_text())
    commit = f"commit {args.commit}" if args.commit else f"version {study['program']}"
    args.page.write_text("\n".join(page(study, commit, args.note)) + "\n")


if __name__ == "__main__":
    main()
