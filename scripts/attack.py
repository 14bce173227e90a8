#!/usr/bin/env python3
"""Attacks the program with hostile files and clumsy commands, and checks what must hold whatever it is given.

    python3 scripts/attack.py AMPOULE [--only GROUP,...] [--keep FOLDER] [--verbose]

Each attempt is a command on files that are made here. It fails where the program
- ends with another exit code than the attempt allows (0 to 5 of docs/cli.md; a signal, an abort and 101 never),
- says that it panicked, or prints a control character that comes from a name,
- takes more than its seconds, or more memory than its limit (`--max-ram`, where the attempt sets one) or 600 MiB,
- says nothing where it refuses, or says more than a screen,
- changes a file outside of its output folder, or leaves a temporary file,
- says that all is done where a word that the attempt demands is missing.
Prints a row a group: tried and failed; ends with 1 if anything failed. Linux. Groups whose names begin
with `odd`, and `limits`, compare results with those of other programs and need the environment of scripts/oracles.sh (`.venv/bin/python`);
without it they are skipped. Full and read-only disks need the right to mount.
"""

import argparse
import json
import os
import pathlib
import re
import resource
import socket
import subprocess
import sys
import tempfile
import threading
import time

from attack_groups import BODIES, GROUPS

try:
    import attack_cohorts
    import attack_dicom
    import attack_odd
    import attack_photos
    import attack_slides
    import attack_system
    GROUPS.update({f.__name__: f for m in (attack_odd, attack_dicom, attack_photos, attack_slides, attack_cohorts, attack_system) for f in m.ALL})
    MISSING = None
except ImportError as e:
    MISSING = e


def ask(port, data, wait=5):
    """What a server answers to raw bytes."""
    with socket.create_connection(("127.0.0.1", port), timeout=wait) as s:
        try:
            s.sendall(data)
            s.settimeout(wait)
            out = b""
            while len(out) < 1 << 20:
                got = s.recv(65536)
                if not got:
                    break
                out += got
        except OSError:
            pass
    return out


def peak(pid):
    try:
        for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    except OSError:
        pass
    return 0


def control(text):
    return [c for c in text if (ord(c) < 32 and c not in "\n\t\r") or ord(c) == 127 or 0x80 <= ord(c) < 0xa0 or c == "\u202e"]


def run(ampoule, d, a):
    """What is wrong with an attempt."""
    env = {**os.environ, "HOME": str(d), **a.env}
    wrong = []
    temporary = lambda: {p for p in d.rglob("*") if ".tmp-" in p.name}
    before = temporary()
    def limited():
        for what, limit in a.limits.items():
            resource.setrlimit(what, (limit, limit))

    if a.before:
        a.before()
    try:
        child = subprocess.Popen([ampoule, *a.args], cwd=d, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                 preexec_fn=limited if a.limits else None)
    except (ValueError, OSError) as e:
        return [f"cannot be tried: {e}"]
    said, most, begun = [], 0, time.monotonic()
    reader = threading.Thread(target=lambda: said.append(child.stdout.read()))
    reader.start()
    try:
        child.stdin.write(a.stdin or b"")
        child.stdin.close()
    except OSError:
        pass
    while child.poll() is None:
        most = max(most, peak(child.pid))
        if time.monotonic() - begun > a.seconds:
            child.kill()
            wrong.append(f"takes more than {a.seconds} s")
            break
        time.sleep(0.004)
    code = child.wait()
    reader.join()
    text = said[0].decode(errors="surrogateescape") if said else ""
    if not wrong and code not in a.codes:
        wrong.append(f"code {code}: {text.strip()[-300:]!r}")
    if "panicked" in text or "RUST_BACKTRACE" in text:
        wrong.append(f"panics: {text.strip()[-400:]!r}")
    if control(text):
        wrong.append(f"prints control characters {control(text)[:5]!r}")
    if most > a.mib:
        wrong.append(f"takes {most:.0f} of {a.mib} MiB (code {code})")
    if code not in (0, -9) and not text.strip():
        wrong.append(f"code {code} without a word")
    if code not in (0, -9) and len(text) > a.most:
        wrong.append(f"says {len(text)} characters: {text[:200]!r}")
    wrong += [f"`{w}` is not said" for w in a.words if w not in text]
    wrong += a.after() if a.after else []
    a.said = text
    if a.right and not wrong:
        try:
            wrong += a.right(code)
        except Exception as e:
            wrong.append(f"what was written cannot be read: {type(e).__name__}: {e}")
    wrong += [f"{p.relative_to(d)} is left" for p in temporary() - before]
    return wrong


def parts(a):
    """What is wrong with each file of an attempt at many."""
    for name, right in a.each.items():
        try:
            yield name, right()
        except Exception as e:
            yield name, [f"what was written cannot be read: {type(e).__name__}: {e}"]


def serving(ampoule, d, args, requests):
    """Attempts at a server's port, each with what is wrong."""
    with tempfile.TemporaryFile() as said:
        child = subprocess.Popen([ampoule, *args], cwd=d, stdout=said, stderr=said, env={**os.environ, "HOME": str(d)})
        port = None
        for _ in range(600):
            said.seek(0)
            text = said.read().decode(errors="replace")
            found = re.search(r"127\.0\.0\.1:(\d+)", text)
            if found:
                port = int(found[1])
                break
            if child.poll() is not None:
                break
            time.sleep(0.1)
        if port is None:
            child.kill()
            yield "start", [f"does not start: {text[-300:]}"]
            return
        for name, data in requests.items():
            wrong = []
            if data is None:
                body = json.dumps(BODIES[name]).encode()
                data = b"POST /v2/models/m/infer HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body
            begun = time.monotonic()
            answer = ask(port, data, 10)
            if time.monotonic() - begun > 30:
                wrong.append("is answered after 30 s")
            if answer.startswith(b"HTTP/1.1 5") and b" 503" not in answer[:16] and b" 507" not in answer[:16]:
                wrong.append(f"answer {answer[:100]!r}")
            # A name may come back as JSON, which no browser runs.
            head, _, body = answer.partition(b"\r\n\r\n")
            if b"root:" in answer or b"X: secret" in answer or b"<script>" in body[:3000] and b"application/json" not in head:
                wrong.append(f"tells {answer[:200]!r}")
            health = ask(port, b"GET /v2/health/live HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n", 20)
            if b" 200" not in health[:16]:
                wrong.append(f"then does not live: {health[:100]!r}")
            if peak(child.pid) > 400:
                wrong.append(f"takes {peak(child.pid):.0f} of 400 MiB")
            yield name, wrong
            if child.poll() is not None:
                yield "end", [f"it ended with {child.returncode}"]
                return
        child.terminate()
        code = child.wait(30)
        said.seek(0)
        text = said.read().decode(errors="replace")
        yield "end", [f"code {code}"] * (code not in (0, 143)) + ["panics"] * ("panicked" in text) + [f"prints {control(text)[:5]!r}"] * bool(control(text))


def main():
    parse = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parse.add_argument("ampoule")
    parse.add_argument("--only")
    parse.add_argument("--keep", type=pathlib.Path)
    parse.add_argument("--verbose", action="store_true")
    a = parse.parse_args()
    ampoule, failed, rows = str(pathlib.Path(a.ampoule).resolve()), 0, []
    if not MISSING:
        attack_system.AMPOULE[0] = ampoule
    with tempfile.TemporaryDirectory(prefix="attack-") as temporary:
        for name, make in GROUPS.items():
            if a.only and name not in a.only.split(","):
                continue
            d = (a.keep or pathlib.Path(temporary)) / name / "work"
            d.mkdir(parents=True, exist_ok=True)
            tried = wrong = 0
            for attempt in make(d):
                if isinstance(attempt, tuple):
                    done = serving(ampoule, d, attempt[1], attempt[2])
                else:
                    done = [(attempt.name, run(ampoule, d, attempt)), *parts(attempt)]
                for what, found in done:
                    tried += 1
                    wrong += bool(found)
                    for text in found:
                        print(f"FAIL {name}, {what}: {text}", flush=True)
                    if a.verbose and not found:
                        print(f"ok   {name}, {what}", flush=True)
            rows.append((name.replace("_", " "), make.__doc__.strip(), tried, wrong))
            failed += wrong
    if MISSING:
        print(f"SKIPPED: odd files, whose results are compared with other programs: {MISSING} (scripts/oracles.sh)")
    print("\n| group | what | tried | failed |\n|---|---|---|---|")
    for row in rows:
        print("| {} | {} | {} | {} |".format(*row))
    print(f"\n{sum(r[2] for r in rows)} tried, {failed} failed")
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
