#!/usr/bin/env python3
"""Checks that any number of processes may share an output folder, and that killed ones do no harm.

    python scripts/verify_processes.py AMPOULE_BINARY MODEL_OR_NAME [--input FILE_OR_FOLDER ...] [--recipe R]

Makes a folder of small cases: copies of the files of --input in turn (photos or volumes, such as 128 by 128 pixels), or
synthetic pictures where none are given. One process runs all of them into one folder. Then ten start at once over the
same cases into another; three of them are killed (SIGKILL) at random moments while they work, and one more process
runs when the others have ended. Both folders must have the same files, with equal bytes where nothing tells of time,
memory, threads, and of who did a case; each case stands once in cases.csv as done or kept; nothing is left of locks,
temporary files and failures; and every record parses and lists what lies there. Nothing may be left undone by those
that were not killed. Prints one line, and what is wrong; ends with 1 if anything is. Needs only Python.
"""

import argparse
import csv
import hashlib
import json
import math
import pathlib
import random
import shutil
import struct
import subprocess
import sys
import tempfile
import time
import zlib

VOLATILE = {"seconds", "peak_mib"}
ENDINGS = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".webp", ".bmp", ".nii", ".nii.gz", ".mgz")


def picture(path, seed, side=128):
    """A PNG with soft blobs in the colours of stained tissue, and a little noise."""
    rng = random.Random(seed)
    spots = [(rng.uniform(0, side), rng.uniform(0, side), rng.uniform(8, 30)) for _ in range(6)]
    rows = bytearray()
    for y in range(side):
        rows.append(0)
        for x in range(side):
            v = sum(math.exp(-((x - a) ** 2 + (y - b) ** 2) / r**2) for a, b, r in spots)
            v = min(v, 1.0) * 0.8 + rng.random() * 0.1
            rows += bytes((int(235 - 100 * v), int(200 - 150 * v), int(225 - 60 * v)))

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(rows))) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body)


def make_cases(folder, inputs, count):
    """Cases in four folders, so that processes meet where folders are made too."""
    given = []
    for i in inputs:
        files = sorted(p for p in i.rglob("*") if p.name.lower().endswith(ENDINGS)) if i.is_dir() else [i]
        given += files
    if inputs and not given:
        sys.exit("no images in --input")
    for n in range(count):
        place = folder / "abcd"[n % 4]
        place.mkdir(parents=True, exist_ok=True)
        if given:
            source = given[n % len(given)]
            ending = next((e for e in sorted(ENDINGS, key=len, reverse=True) if source.name.lower().endswith(e)), "")
            shutil.copyfile(source, place / f"case{n:04}{ending}")
        else:
            picture(place / f"case{n:04}.png", n)


def left_over(out):
    return [p for p in files(out) if p.endswith("-lock") or ".tmp-" in p]


def files(out):
    return sorted(str(p.relative_to(out)) for p in out.rglob("*") if not p.is_dir())


def table(path):
    """Header and rows without the columns that tell of time and memory; who did a case is left out too."""
    with path.open(newline="") as f:
        rows = list(csv.DictReader(f))
    for r in rows:
        for k in VOLATILE & r.keys():
            del r[k]
        if r.get("status") in ("done", "kept"):
            r["status"] = "done"
    return rows


def sha(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def check(one, two, count):
    """What is wrong with the folder `two`, where `one` is right."""
    wrong = []
    for out in (one, two):
        there = files(out)
        wrong += [f"{out.name}: left over: {p}" for p in left_over(out)]
        if "failures.csv" in there:
            wrong.append(f"{out.name}: failures.csv: {(out / 'failures.csv').read_text().strip()}")
        with (out / "cases.csv").open(newline="") as f:
            rows = list(csv.DictReader(f))
        names = [r["case"] for r in rows]
        if len(names) != count or len(set(names)) != count:
            wrong.append(f"{out.name}: cases.csv has {len(names)} rows of {len(set(names))} cases, not {count}")
        wrong += [f"{out.name}: {r['case']} is {r['status']}" for r in rows if r["status"] not in ("done", "kept")]
        records = [p for p in there if p.endswith("_ampoule.json")]
        if len(records) != count:
            wrong.append(f"{out.name}: {len(records)} records, not {count}")
        for r in records:
            try:
                for w in json.loads((out / r).read_text())["outputs"]:
                    if sha((out / r).parent / w["file"]) != w["sha256"]:
                        wrong.append(f"{out.name}: {w['file']} is not what its record says")
            except (ValueError, KeyError, OSError) as e:
                wrong.append(f"{out.name}: {r}: {e}")
        if len(json.loads((out / "runs.json").read_text())) != 1:
            wrong.append(f"{out.name}: runs.json does not have one kind of run")
    a, b = files(one), files(two)
    wrong += [f"only in {one.name}: {p}" for p in sorted(set(a) - set(b))]
    wrong += [f"only in {two.name}: {p}" for p in sorted(set(b) - set(a))]
    same = 0
    for p in sorted(set(a) & set(b)):
        x, y = one / p, two / p
        if p == "qc.html":
            continue
        if p.endswith("_ampoule.json"):
            said = [json.loads(f.read_text()) for f in (x, y)]
            for r in said:
                for k in ("timings_ms", "peak_rss_mib", "threads"):
                    r.pop(k, None)
            equal = said[0] == said[1]
        elif p == "runs.json":
            said = [[e["fingerprint"] for e in json.loads(f.read_text())] for f in (x, y)]
            equal = said[0] == said[1]
        elif p.endswith(".csv") and "/" not in p:
            equal = table(x) == table(y)
        else:
            equal = x.read_bytes() == y.read_bytes()
        same += equal
        if not equal:
            wrong.append(f"not equal: {p}")
    return wrong, same


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("ampoule")
    parser.add_argument("model")
    parser.add_argument("--input", nargs="+", type=pathlib.Path, default=[])
    parser.add_argument("--recipe")
    parser.add_argument("--cases", type=int, default=200)
    parser.add_argument("--processes", type=int, default=10)
    parser.add_argument("--kill", type=int, default=3)
    parser.add_argument("--seed", type=int, default=None, help="of the moments; printed")
    parser.add_argument("--work", type=pathlib.Path, help="folder to make and to leave; else a temporary one")
    args = parser.parse_args()
    seed = args.seed if args.seed is not None else random.randrange(10**6)
    rng = random.Random(seed)
    with tempfile.TemporaryDirectory(prefix="processes-") as temporary:
        work = args.work or pathlib.Path(temporary)
        work.mkdir(parents=True, exist_ok=True)
        for name in ("cases", "OUT1", "OUT2"):
            if (work / name).exists():
                sys.exit(f"{work / name} exists; choose another --work")
        cases, one, two = work / "cases", work / "OUT1", work / "OUT2"
        make_cases(cases, args.input, args.cases)

        def command(out, threads):
            recipe = ["--recipe", args.recipe] if args.recipe else []
            base = [args.ampoule, "run", args.model, str(cases), "--output", str(out), *recipe]
            return [*base, "--quiet", "--threads", str(threads)]

        begun = time.monotonic()
        alone = subprocess.run(command(one, 2))
        alone_s = time.monotonic() - begun
        if alone.returncode != 0:
            sys.exit(f"the process alone ended with {alone.returncode}")

        # One or two threads each: with two, cases run side by side within a process as well.
        begun = time.monotonic()
        logs = [open(work / f"log{i}", "w+") for i in range(args.processes)]
        running = [subprocess.Popen(command(two, 1 + i % 2), stderr=log) for i, log in enumerate(logs)]
        # A moment is when so many cases are done, and a little later; all of them while others are left to do.
        doomed = rng.sample(range(args.processes), args.kill)
        moments = sorted((rng.uniform(0.02, 0.7) * args.cases, rng.uniform(0, 0.15)) for _ in doomed)
        killed = holding = writing = 0
        for i, (share, later) in zip(doomed, moments):
            child, claims = running[i], []
            while child.poll() is None and sum(1 for _ in two.rglob("*_ampoule.json")) < share:
                time.sleep(0.02)
            time.sleep(later)
            if child.poll() is None:
                child.kill()
                child.wait()
                killed += child.returncode == -9
                # What it held, unless another process has taken it over already.
                for lock in two.rglob(".*-lock"):
                    try:
                        text = lock.read_text().split()
                    except OSError:
                        continue
                    if str(child.pid) in text:
                        claims.append(text)
            holding += bool(claims)
            writing += any("writing" in c for c in claims)
        wrong = []
        if killed != args.kill:
            wrong.append(f"only {killed} processes were still at work when they were to be killed; use more cases")
        for i, child in enumerate(running):
            child.wait()
            if i not in doomed and child.returncode != 0:
                logs[i].seek(0)
                wrong.append(f"process {i} ended with {child.returncode}: {logs[i].read().strip()[:500]}")
        many_s = time.monotonic() - begun
        # Those that were not killed did everything, and left nothing.
        early = list(two.rglob("*_ampoule.json"))
        if len(early) != args.cases:
            wrong.append(f"{args.cases - len(early)} cases were left undone before the last process")
        wrong += [f"left over before the last process: {p}" for p in left_over(two)]
        stamps = {p: p.stat().st_mtime_ns for p in early}
        last = subprocess.run(command(two, 2))
        if last.returncode != 0:
            wrong.append(f"the last process ended with {last.returncode}")
        again = sum(p.stat().st_mtime_ns != t for p, t in stamps.items())
        if again:
            wrong.append(f"{again} finished cases were made again by the last process")
        try:
            found, same = check(one, two, args.cases)
        except (OSError, ValueError, KeyError) as e:
            found, same = [f"cannot be checked: {e!r}"], 0
        wrong += found
        for log in logs:
            log.close()
        print(
            f"{'WRONG' if wrong else 'ok   '} {args.cases} cases, {args.processes} processes, {killed} killed "
            f"({holding} left claims, {writing} while writing), {len(early)} cases done by the others, "
            f"{same} files the same, {len(wrong)} differences; {alone_s:.1f} s alone, {many_s:.1f} s together; "
            f"seed {seed}"
        )
        for w in wrong[:40]:
            print("  " + w)
        return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
