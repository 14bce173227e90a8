#!/usr/bin/env python3
"""The bill of materials of the program `ampoule`, as CycloneDX 1.6 JSON: every crate that is linked into it, with version,
licence, source and the checksum of Cargo.lock, and who depends on whom.

    scripts/sbom.py ampoule.cdx.json [TARGET]

TARGET is a platform (default x86_64-unknown-linux-gnu). The same lock file gives the same bytes.
"""

import json
import subprocess
import sys
import tomllib
import uuid
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROGRAM = "ampoule-cli"


def metadata(target):
    command = ["cargo", "metadata", "--format-version", "1", "--locked", "--filter-platform", target]
    return json.loads(subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout)


def linked(nodes, root):
    """Crates that end up in the program: normal dependencies, without those of builds and tests."""
    seen, open_ = {root}, [root]
    while open_:
        for dep in nodes[open_.pop()]["deps"]:
            if any(kind["kind"] is None for kind in dep["dep_kinds"]) and dep["pkg"] not in seen:
                seen.add(dep["pkg"])
                open_.append(dep["pkg"])
    return seen


def main():
    out = Path(sys.argv[1]) if len(sys.argv) > 1 else Path("ampoule.cdx.json")
    target = sys.argv[2] if len(sys.argv) > 2 else "x86_64-unknown-linux-gnu"
    data = metadata(target)
    packages = {p["id"]: p for p in data["packages"]}
    nodes = {n["id"]: n for n in data["resolve"]["nodes"]}
    root = next(p["id"] for p in data["packages"] if p["name"] == PROGRAM)
    lock = tomllib.loads((ROOT / "Cargo.lock").read_text())
    checksums = {(p["name"], p["version"]): p.get("checksum") for p in lock["package"]}

    def reference(identifier):
        p = packages[identifier]
        return f"pkg:cargo/{p['name']}@{p['version']}"

    def component(identifier):
        p = packages[identifier]
        entry = {
            "type": "application" if identifier == root else "library",
            "bom-ref": reference(identifier),
            "name": p["name"],
            "version": p["version"],
            "purl": reference(identifier),
        }
        if p.get("description"):
            entry["description"] = " ".join(p["description"].split())
        if p.get("license"):
            entry["licenses"] = [{"expression": p["license"].replace("/", " OR ")}]
        if checksum := checksums.get((p["name"], p["version"])):
            entry["hashes"] = [{"alg": "SHA-256", "content": checksum}]
        if p.get("repository"):
            entry["externalReferences"] = [{"type": "vcs", "url": p["repository"]}]
        return entry

    inside = sorted(linked(nodes, root), key=reference)
    edges = []
    for identifier in inside:
        used = sorted(reference(d["pkg"]) for d in nodes[identifier]["deps"] if d["pkg"] in inside)
        edges.append({"ref": reference(identifier), "dependsOn": sorted(set(used))})
    bill = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": component(root), "properties": [{"name": "cargo:target", "value": target}]},
        "components": [component(i) for i in inside if i != root],
        "dependencies": edges,
    }
    body = json.dumps(bill, sort_keys=True)
    bill["serialNumber"] = f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, body)}"
    out.write_text(json.dumps(bill, indent=1, sort_keys=True) + "\n")
    without = [c["name"] for c in bill["components"] if "licenses" not in c]
    print(f"{len(bill['components'])} components, {len(without)} without a licence" + (f": {', '.join(without)}" if without else ""))


if __name__ == "__main__":
    main()
