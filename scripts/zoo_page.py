#!/usr/bin/env python3
"""The page of scripts/zoo.sh: tables of what `ampoule bench --json` printed. Standard library only."""
import datetime
import json
import math
import sys

lines, machine, commit, seconds, threads = sys.argv[1:]
rows = [json.loads(line) for line in open(lines)]
columns = ["FP32", "BF16", "INT8"]


def key(row):
    return row["column"], row["network"], row.get("threads")


def cell(group):
    """Ours, the peers, ratios of the better peer to ours by least and by middle time, and memory."""
    ours = [r for r in group if r.get("engine") == "ampoule"]
    # An engine that cannot run a file has no times.
    others = [r for r in group if r.get("engine") not in (None, "ampoule")]
    peers = [r for r in others if "min_ms" in r]
    failed = [r["failed"] for r in group if "failed" in r]
    if not ours or "min_ms" not in ours[0]:
        failed += [r["error"] for r in ours]
        return None, (failed or ["nothing was measured"])[0].splitlines()[-1]
    ours = ours[0]
    times = " / ".join(f"{r['min_ms']:.4g}" if "min_ms" in r else "—" for r in [ours] + others)
    kernels = sum(k["steps"] for k in ours.get("profile", []) if k["kernel"] == "reference")
    if not peers:
        return None, f"{times} | | | {ours['peak_rss_mb']:.0f} | | {kernels}"
    best = min(p["min_ms"] for p in peers) / ours["min_ms"]
    middle = min(p["median_ms"] for p in peers) / ours["median_ms"]
    memory = ours["peak_rss_mb"] / min(p["peak_rss_mb"] for p in peers)
    error = max(p.get("rel_l2", 0.0) for p in peers)
    text = f"{times} | {best:.2f} | {middle:.2f} | {ours['peak_rss_mb']:.0f} ({memory:.2f}) | {error:.0e} | {kernels}"
    return best, text


print("# Networks side by side\n")
print(f"Written by `scripts/zoo.sh` on {datetime.date.today()}, of commit {commit}, {seconds} s an engine, on:\n")
print("```\n" + open(machine).read().rstrip() + "\n```\n")
print(
    "Times are least milliseconds of Ampoule / ONNX Runtime / OpenVINO, a fresh process each, — where it cannot. A ratio above 1 says that\n"
    "Ampoule is faster than the better of the others. Memory is Ampoule's peak in MB and, in brackets, over that of the\n"
    "better of the others. The difference is the largest relative L2 between an engine's outputs and Ampoule's. The last\n"
    "column counts steps on the reference kernel. Weights are random: an INT8 file's outputs say nothing of a trained one's."
)
for count in threads.split(","):
    for column in columns:
        names = sorted({r["network"] for r in rows if r["column"] == column})
        print(f"\n## {column}, {count} thread{'s' if count != '1' else ''}\n")
        print("| network | ms | ratio, least | ratio, median | memory | difference | reference |")
        print("|---|---|---|---|---|---|---|")
        ratios = []
        for name in names:
            group = [r for r in rows if r["column"] == column and r["network"] == name]
            group = [r for r in group if "failed" in r or str(r["threads"]) == count]
            ratio, text = cell(group)
            if ratio is not None:
                ratios.append(ratio)
            print(f"| {name} | {text} |")
        if ratios:
            mean = math.exp(sum(map(math.log, ratios)) / len(ratios))
            below = sum(r < 1 for r in ratios)
            print(f"\nGeometric mean {mean:.2f} over {len(ratios)} networks, {below} below 1.")
