"""The examples of schedulers: run where they can be, checked for their form where not."""

from __future__ import annotations

import csv
import os
import pathlib
import shutil
import subprocess

import pytest
from conftest import QUICK, ROOT

EXAMPLES = ROOT / "examples/cohorts"


@pytest.fixture(scope="module")
def sharding():
    """The program, where it takes --shard."""
    path = os.environ.get("AMPOULE_PROGRAM")
    if not path or "--shard" not in subprocess.run([path, "run", "--help"], capture_output=True, text=True).stdout:
        pytest.skip("the program does not take --shard")
    return path


@pytest.fixture
def manifest(tmp_path):
    """Tiles of the repository, with the recipe in the model."""
    import ampoule_ai as ampoule

    ampoule.Model.open(QUICK / "discs.onnx", recipe="discs").write(tmp_path / "discs.onnx")
    path = tmp_path / "tiles.csv"
    path.write_text("case,file\n" + "".join(f"{t.stem},{t}\n" for t in sorted((QUICK / "test").glob("*.png"))))
    return path


def cases(folder):
    with open(folder / "cases.csv", newline="") as table:
        return [(r["case"], r["status"]) for r in csv.DictReader(table)]


def test_a_slurm_array(sharding, manifest, tmp_path):
    out = tmp_path / "out"
    for task in (3, 4, 5, 6):
        variables = {"SLURM_ARRAY_TASK_ID": task, "SLURM_ARRAY_TASK_COUNT": 4, "SLURM_ARRAY_TASK_MIN": 3}
        variables |= {"SLURM_CPUS_PER_TASK": 1, "SLURM_MEM_PER_NODE": 1024, "AMPOULE": sharding}
        command = ["bash", EXAMPLES / "slurm/array.sh", tmp_path / "discs.onnx", manifest, out]
        environment = {**os.environ, **{k: str(v) for k, v in variables.items()}}
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    assert len(cases(out)) == 16 and {s for _, s in cases(out)} == {"done"}
    bare = {k: v for k, v in os.environ.items() if not k.startswith("SLURM")}
    done = subprocess.run(command, env=bare, capture_output=True, text=True)
    assert done.returncode != 0 and "job array" in done.stderr


@pytest.mark.timeout(600)
def test_a_snakemake_workflow(sharding, manifest, tmp_path):
    snakemake = os.environ.get("AMPOULE_SNAKEMAKE") or shutil.which("snakemake")
    if not snakemake:
        pytest.skip("snakemake is not installed")
    out = tmp_path / "out"
    config = [f"program={sharding}", f"model={tmp_path / 'discs.onnx'}", f"manifest={manifest}", f"out={out}"]
    command = [snakemake, "-s", EXAMPLES / "snakemake/Snakefile", "--cores", "2", "--config", *config, "shards=3", "mem_mb=1024"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert len(cases(out)) == 16 and (out / "cohort.done").exists()
    # Nothing to do the second time.
    again = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert again.returncode == 0 and "Nothing to be done" in again.stderr + again.stdout
    # A tile that cannot be read ends the workflow, with the others done.
    (tmp_path / "bad.png").write_bytes(b"no picture")
    manifest.write_text(manifest.read_text() + f"bad,{tmp_path / 'bad.png'}\n")
    failed = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert failed.returncode != 0
    assert [c for c, s in cases(out) if s == "failed"] == ["bad"] and len(cases(out)) == 17


def test_the_container_holds_the_program_alone():
    lines = [l for l in (EXAMPLES / "container/Containerfile").read_text().splitlines() if l and l[0] != "#"]
    words = [l.split()[0] for l in lines]
    assert lines[0] == "FROM scratch" and words.count("COPY") == 1 and "RUN" not in words
    assert any(l.startswith("USER ") and not l.startswith("USER 0") for l in lines)


def test_the_kubernetes_job_has_limits_and_no_rights():
    yaml = pytest.importorskip("yaml")
    job = yaml.safe_load((EXAMPLES / "kubernetes/job.yaml").read_text())
    assert (job["apiVersion"], job["kind"]) == ("batch/v1", "Job")
    pod = job["spec"]["template"]["spec"]
    [container] = pod["containers"]
    assert pod["restartPolicy"] == "Never" and pod["securityContext"]["runAsNonRoot"]
    assert container["resources"]["limits"]["memory"] == container["resources"]["requests"]["memory"]
    mounts = {m["name"] for m in container["volumeMounts"]}
    assert mounts == {v["name"] for v in pod["volumes"]}
    assert container["args"][0] == "run" and container["name"] == "ampoule"
    [rule] = [r["onExitCodes"] for r in job["spec"]["podFailurePolicy"]["rules"] if "onExitCodes" in r]
    assert rule["values"] == [1, 2, 3, 5] and rule["containerName"] == "ampoule"


def test_the_nextflow_module_parses():
    reftrace = pytest.importorskip("reftrace")
    main, module = (reftrace.Module.from_file(str(EXAMPLES / "nextflow" / f)) for f in ("main.nf", "ampoule.nf"))
    for parsed in (main, module):
        assert not isinstance(parsed, reftrace.ParseError), parsed
    assert [p.name for p in module.processes] == ["AMPOULE_SHARD"] and not main.processes


def test_shell_scripts_parse():
    for script in EXAMPLES.rglob("*.sh"):
        subprocess.run(["bash", "-n", script], check=True)
    assert pathlib.Path(EXAMPLES / "nextflow/main.nf").is_file()
