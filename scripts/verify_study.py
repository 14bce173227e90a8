"""Checks studies: `verify_study.py DIR [DIR]`.

Every number of the report's tables is that of results.json, and results.csv has the same; the variant `again`, which is
the baseline once more, has a speedup of 1 inside its interval and no difference in utility; and two runs of one study
have speedups whose intervals overlap (all but one in twenty, since they are 95 % intervals). Needs only Python.
"""

import csv
import json
import sys
from html.parser import HTMLParser
from pathlib import Path


class Tables(HTMLParser):
    """Rows of all tables, as lists of texts."""

    def __init__(self):
        super().__init__()
        self.rows, self.cell, self.pictures, self.outside = [], None, 0, []

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.cell = ""
        if tag == "br" and self.cell is not None:
            self.cell += "\n"
        if tag in ("script", "link", "iframe", "object"):
            self.outside.append(tag)
        for key in ("src", "href"):
            value = attrs.get(key, "")
            self.pictures += value.startswith("data:image/png")
            if value and not value.startswith(("data:", "#")):
                self.outside.append(value)

    def handle_data(self, data):
        if self.cell is not None:
            self.cell += data

    def handle_endtag(self, tag):
        if tag in ("td", "th") and self.cell is not None:
            self.rows[-1].append(self.cell.strip())
            self.cell = None


def ms(v):
    return f"{v:.0f}" if v >= 100 else f"{v:.2f}" if v >= 1 else f"{v:.3f}"


def ratio(e):
    return "–" if e is None else f"{e['value']:.2f} ({e['low']:.2f} to {e['high']:.2f})"


def signed(v):
    v = round(v, 4) + 0.0
    return f"{v:+.4f}"


def check(folder):
    r = json.loads((folder / "results.json").read_text())
    page = Tables()
    page.feed((folder / "report.html").read_text())
    assert not page.outside, page.outside
    shown = 0
    for c in r["cells"]:
        if c["error"]:
            assert any(row[:2] == [c["variant"], c["profile"]] and c["error"] in row[2] for row in page.rows if len(row) > 2), c
            continue
        want = [ms(c[k]) for k in ("load_ms", "first_ms", "network_ms", "total_ms")]
        end = [ratio(c["speedup_network"]), ratio(c["speedup_total"])]
        rows = [row for row in page.rows if row[:2] == [c["variant"], c["profile"]] and len(row) == 13]
        assert any(row[2:6] == want and row[11:] == end for row in rows), (c["workload"], c["variant"], want, end)
        shown += 6
    for w in r["workloads"]:
        for v in w["variants"]:
            if v["name"] == r["baseline"]:
                continue
            for u in v["utility"]:
                d = u["difference"]
                want = [f"{u['baseline']:.4f}", f"{u['variant']:.4f}"]
                if d:
                    want += [signed(d["value"]), f"{signed(d['low'])} to {signed(d['high'])}"]
                rows = [row for row in page.rows if len(row) == 16 and row[0] == v["name"]]
                assert any(row[3 : 3 + len(want)] == want for row in rows), (w["name"], v["name"], want)
                shown += len(want)
    table = list(csv.DictReader(open(folder / "results.csv")))
    for row in table:
        c = next(c for c in r["cells"] if all(c[k] == row[k] for k in ("workload", "variant", "profile")))
        assert row["error"] or abs(float(row["total_ms"]) - c["total_ms"]) < 1e-5 * c["total_ms"] + 1e-6
    again = [c for c in r["cells"] if c["variant"] == "again"]
    for c in again:
        s = c["speedup_total"]
        inside = s["low"] <= 1 <= s["high"]
        print(f"again: {c['workload']} {c['profile']} {ratio(s)}: 1 is {'inside' if inside else 'OUTSIDE'}")
    for w in r["workloads"]:
        for v in w["variants"]:
            if v["name"] == "again":
                for u in v["utility"]:
                    d = u["difference"]
                    assert u["changed"] == 0 and d["value"] == 0 and d["low"] <= 0 <= d["high"], u
                    print(f"again: {w['name']} {u['metric']}: {u['verdict']}, no difference")
    failed = [c for c in r["cells"] if c["error"]]
    print(f"{folder}: {shown} numbers of the report equal to results.json, {page.pictures} pictures, "
          f"{len(r['cells'])} cells of which {len(failed)} say why they have no numbers")
    return r


runs = [check(Path(p)) for p in sys.argv[1:]]
if len(runs) == 2:
    apart = both = 0
    for c in runs[0]["cells"]:
        other = next(x for x in runs[1]["cells"] if all(x[k] == c[k] for k in ("workload", "variant", "profile")))
        a, b = c["speedup_total"], other["speedup_total"]
        if a and b and c["variant"] != runs[0]["baseline"]:
            both += 1
            if a["low"] > b["high"] or b["low"] > a["high"]:
                apart += 1
                print("apart:", c["workload"], c["variant"], c["profile"], ratio(a), ratio(b))
    print(f"{both - apart} of {both} speedups of two runs overlap")
    sys.exit(apart > max(1, both // 20))
