"""Cohorts on a local Ray cluster: workers and machines that die, memory, stragglers, bad manifests, object storage."""

from __future__ import annotations

import csv
import json
import os
import signal
import socket
import threading

import numpy as np
import pytest
from conftest import bright_volume, network
from onnx import TensorProto, helper
from PIL import Image

import ampoule_ai as ampoule

# Clusters start in a crowd of builds and tests here.
os.environ.setdefault("RAY_agent_register_timeout_ms", "300000")
os.environ.setdefault("RAY_raylet_start_wait_time_s", "300")

ray = pytest.importorskip("ray")
pq = pytest.importorskip("pyarrow.parquet")

from ray.cluster_utils import Cluster  # noqa: E402

from ampoule_ai.ray import run_cohort  # noqa: E402
from ampoule_ai.ray._plan import OVERHEAD  # noqa: E402
from ampoule_ai.ray._pool import Pool  # noqa: E402

MIB = 1 << 20
# Ray's object store: cases are small, and the machine is shared.
STORE = 100 * MIB

TILE_RECIPE = """
version = 2
[model]
name = "spots"
task = "segmentation"
[[input]]
name = "tile"
kind = "image"
[[preprocess]]
step = "mean-deviation"
mean = [0.5, 0.5, 0.5]
deviation = [1.0, 1.0, 1.0]
[[network]]
[[label]]
name = "ground"
[[label]]
name = "spot"
"""


def free_ports(count):
    """Ports that nobody listens on."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [s.getsockname()[1] for s in sockets]
    [s.close() for s in sockets]
    return ports


def machine(cluster, cores=1, memory=2048, head=False):
    # Ports that are given need not be waited for: on a busy machine Ray's agents take longer to choose them than it waits.
    names = ("metrics_agent_port", "metrics_export_port", "runtime_env_agent_port", "dashboard_agent_listen_port")
    extra = dict(zip(names, free_ports(4)), **({"include_dashboard": False} if head else {}))
    return cluster.add_node(num_cpus=cores, memory=memory * MIB, object_store_memory=STORE, **extra)


@pytest.fixture
def cluster():
    """Two machines of one core each, which are processes here."""
    made = Cluster()
    machine(made, head=True)
    made.second = machine(made)
    ray.init(address=made.address, log_to_driver=False)
    yield made
    ray.shutdown()
    made.shutdown()


@pytest.fixture(scope="module")
def spots(tmp_path_factory):
    """A tiny network of tiles with its recipe."""
    weights = np.zeros((2, 3, 3, 3), np.float32)
    weights[1] = 1 / 27
    return network(
        tmp_path_factory.mktemp("spots") / "spots.onnx",
        [helper.make_node("Conv", ["x", "w"], ["y"], pads=[1, 1, 1, 1])],
        [("x", TensorProto.FLOAT, ["n", 3, "h", "w"])],
        [("y", TensorProto.FLOAT, ["n", 2, "h", "w"])],
        {"w": weights},
        TILE_RECIPE,
    )


def tiles(folder, count):
    """Small tiles, each another one, and a manifest of them."""
    random = np.random.default_rng(11)
    folder.mkdir()
    for i in range(count):
        Image.fromarray(random.integers(0, 256, (12, 14, 3), dtype=np.uint8)).save(folder / f"t{i:04}.png")
    manifest = folder / "manifest.csv"
    manifest.write_text("case,file\n" + "".join(f"t{i:04},t{i:04}.png\n" for i in range(count)))
    return manifest


@pytest.fixture
def workers(monkeypatch):
    """The numbers of the processes of workers that are alive, of whoever runs a cohort here."""
    pools = []
    arrive = Pool.arrive

    def noted(self, seat):
        if self not in pools:
            pools.append(self)
        return arrive(self, seat)

    monkeypatch.setattr(Pool, "arrive", noted)
    return lambda: [s.pid for pool in pools for s in pool.seats if s.pid]


def masks(folder):
    return {p.name: p.read_bytes() for p in folder.glob("*_mask.png")}


def statuses(path):
    return {r["case"]: r["status"] for r in pq.read_table(path).to_pylist()}


@pytest.mark.timeout(900)
def test_two_thousand_cases_with_a_worker_and_a_machine_lost(cluster, workers, spots, tmp_path, program):
    count = int(os.environ.get("AMPOULE_COHORT_CASES", "2000"))
    manifest = tiles(tmp_path / "tiles", count)
    out = tmp_path / "out"
    done, killed = [], []

    def watch(over, of, name, status):
        done.append(name)
        if over == of // 4:
            # The process of a worker, by its number.
            pid = workers()[0]
            os.kill(pid, signal.SIGKILL)
            killed.append(pid)
        if over == of // 2:
            cluster.remove_node(cluster.second)
            killed.append("machine")

    found = run_cohort(manifest, spots, out, memory="256M", progress=watch)
    assert len(killed) == 2
    assert found.code == 0 and not found.failures
    names = sorted(f"t{i:04}" for i in range(count))
    assert sorted(done) == names
    # Every case exactly once, in the table and on disk.
    assert sorted(r["case"] for r in pq.read_table(found.table).to_pylist()) == names
    with open(out / "cases.csv", newline="") as table:
        assert sorted(r["case"] for r in csv.DictReader(table)) == names
    assert not (out / "failures.csv").exists()
    assert not list(out.glob(".*ampoule-lock")) and not list(out.glob("*tmp-*"))
    assert sum(r["attempts"] for r in found.rows) > count
    # Equal to a single run of the command line, which keeps all of it as its own, and the other way round.
    single = tmp_path / "single"
    program("run", spots, manifest, "-o", single, "--quiet")
    assert masks(out) == masks(single) and len(masks(out)) == count
    told = program("run", spots, manifest, "-o", out).stderr
    assert f"{count} kept" in told, told
    again = run_cohort(manifest, spots, single, memory="256M", workers=1)
    assert again.counts == {"done": 0, "kept": count, "failed": 0, "skipped": 0}


def test_what_was_stopped_goes_on(cluster, spots, tmp_path):
    manifest = tiles(tmp_path / "tiles", 12)

    class Stop(Exception):
        pass

    def stop(over, of, name, status):
        if over == 5:
            raise Stop

    with pytest.raises(Stop):
        run_cohort(manifest, spots, tmp_path / "out", memory="256M", progress=stop)
    found = run_cohort(manifest, spots, tmp_path / "out", memory="256M")
    assert found.counts["done"] + found.counts["kept"] == 12 and found.counts["kept"] >= 5
    # A result that was changed is not taken for one.
    mask = next((tmp_path / "out").glob("t0003_mask.png"))
    mask.write_bytes(b"changed")
    changed = run_cohort(manifest, spots, tmp_path / "out", memory="256M")
    assert [r["case"] for r in changed.failures] == ["t0003"] and changed.code == 1
    whole = run_cohort(manifest, spots, tmp_path / "out", memory="256M", overwrite=True)
    assert whole.counts["done"] == 12


def test_bad_manifests(cluster, spots, tmp_path):
    manifest = tiles(tmp_path / "tiles", 4)
    (manifest.parent / "t0001.png").unlink()
    (manifest.parent / "t0002.png").write_bytes(b"no picture")
    found = run_cohort(manifest, spots, tmp_path / "out", memory="256M")
    assert statuses(found.table) == {"t0000": "done", "t0001": "failed", "t0002": "failed", "t0003": "done"}
    assert found.code == 1 and {f["code"] for f in found.failures} == {3}
    assert "t0001.png" in found.failures[0]["error"]
    with pytest.raises(ampoule.CasesFailed, match="2 of 4"):
        found.check()
    with open(tmp_path / "out/failures.csv", newline="") as table:
        assert len(list(csv.DictReader(table))) == 2
    # What stands twice is named and left out, as by the command line.
    manifest.write_text("case,file\na,t0000.png\na,t0003.png\n")
    found = run_cohort(manifest, spots, tmp_path / "twice", memory="256M")
    assert found.code == 1 and [row["status"] for row in found.rows] == ["skipped", "skipped"]
    for inputs, kind in ((tmp_path / "none.csv", ampoule.BadInput), ([], ampoule.UsageError)):
        with pytest.raises(kind):
            run_cohort(inputs, spots, tmp_path / "other", memory="256M")
    with pytest.raises(ampoule.UsageError, match="attempts"):
        run_cohort(manifest, spots, tmp_path / "other", attempts=0)


def test_two_cohorts_into_one_folder(cluster, spots, bright, scan, tmp_path, program):
    manifest = tiles(tmp_path / "tiles", 3)
    run_cohort(manifest, spots, tmp_path / "out", memory="256M")
    with pytest.raises(ampoule.UsageError, match="another cohort"):
        run_cohort(scan, bright, tmp_path / "out", memory="256M")
    with pytest.raises(ampoule.UsageError, match="another cohort"):
        run_cohort(manifest, spots, tmp_path / "out", memory="256M", precision="bf16")
    # Those of the command line, too.
    program("run", spots, manifest, "-o", tmp_path / "cli", "--quiet")
    with pytest.raises(ampoule.UsageError, match="model differ"):
        run_cohort(scan, bright, tmp_path / "cli", memory="256M")
    # The same cohort twice at the same time: each case is done by one of them.
    other = {}
    thread = threading.Thread(
        target=lambda: other.update(c=run_cohort(manifest, spots, tmp_path / "twice", memory="256M", workers=1, results="b.parquet"))
    )
    thread.start()
    mine = run_cohort(manifest, spots, tmp_path / "twice", memory="256M", workers=1)
    thread.join()
    for found in (mine, other["c"]):
        assert found.counts["done"] + found.counts["kept"] == 3
    assert mine.counts["done"] + other["c"].counts["done"] == 3


def volumes(folder, sizes):
    import nibabel

    folder.mkdir()
    random = np.random.default_rng(2)
    for i, size in enumerate(sizes):
        image = nibabel.Nifti1Image(random.normal(0, 1, (size,) * 3).astype(np.float32), np.eye(4))
        nibabel.save(image, folder / f"v{i}.nii")
    return folder


def test_a_case_that_does_not_fit_gets_more_and_is_then_reported(cluster, tmp_path):
    model = bright_volume(tmp_path / "bright.onnx")
    folder = volumes(tmp_path / "scans", [12, 240])
    # The plan is wrong: it says less than the volume alone has.
    cases = [{"input": str(folder / f"v{i}.nii"), "peak_memory_bytes": m * MIB, "seconds": 0.1, "cores": 1} for i, m in ((0, 100), (1, 110))]
    plan = tmp_path / "plan.json"
    plan.write_text(json.dumps({"cases": cases}))
    found = run_cohort(folder, model, tmp_path / "out", plan=plan)
    small, large = sorted(found.rows, key=lambda r: r["case"])
    assert found.code == 0 and small["attempts"] == 1
    assert large["attempts"] > 1 and large["requested_memory_bytes"] > 2 * small["requested_memory_bytes"] - MIB
    assert large["retried"] and "MiB" in large["retried"][0]
    # Never enough: reported with the code of the command line.
    found = run_cohort(folder, model, tmp_path / "less", plan=plan, memory_retries=0)
    [failed] = found.failures
    assert (failed["case"], failed["code"], failed["attempts"]) == ("v1", 5, 1)
    # More than any machine has is said without trying.
    cases[1]["peak_memory_bytes"] = 64 << 30
    found = run_cohort(folder, model, tmp_path / "huge", plan={"cases": cases})
    [failed] = found.failures
    assert failed["attempts"] == 0 and "the largest machine" in failed["error"] and failed["code"] == 5


def test_requests_come_from_the_plan(cluster, spots, tmp_path, monkeypatch):
    manifest = tiles(tmp_path / "tiles", 2)
    program = tmp_path / "bin/ampoule"
    program.parent.mkdir()
    cases = [{"input": str(manifest.parent / f"t{i:04}.png"), "peak_memory_bytes": 300 * MIB, "seconds": 1, "cores": 1} for i in range(2)]
    program.write_text(f"#!/bin/sh\necho \"$@\" > {tmp_path}/typed\ncat <<'EOF'\n{json.dumps({'cases': cases})}\nEOF\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    found = run_cohort(manifest, spots, tmp_path / "out", plan="ampoule")
    assert {r["requested_memory_bytes"] for r in found.rows} == {300 * MIB + OVERHEAD}
    typed = (tmp_path / "typed").read_text().split()
    assert typed[:3] == ["plan", str(spots), str(manifest)] and typed[-1] == "--json"
    for wrong in ("{}", '{"cases": [{}]}', "no JSON"):
        (tmp_path / "wrong.json").write_text(wrong)
        with pytest.raises(ampoule.BadInput, match="plan"):
            run_cohort(manifest, spots, tmp_path / "out", plan=tmp_path / "wrong.json")
    program.write_text("#!/bin/sh\necho no such model >&2; exit 3\n")
    with pytest.raises(ampoule.BadInput, match="no such model"):
        run_cohort(manifest, spots, tmp_path / "out", plan="ampoule")


def test_stragglers_are_taken_away(cluster, workers, spots, tmp_path):
    manifest = tiles(tmp_path / "tiles", 30)
    stopped = []

    def stop(over, of, name, status):
        if over == 3:
            for pid in workers():
                os.kill(pid, signal.SIGSTOP)
                stopped.append(pid)

    found = run_cohort(manifest, spots, tmp_path / "out", memory="256M", straggler_seconds=3.0, progress=stop)
    assert found.code == 0 and len(found.rows) == 30 and stopped
    assert any("took longer than 3 s" in why for r in found.rows for why in r["retried"])


def test_a_case_that_another_process_works_on_is_waited_for(cluster, spots, tmp_path):
    import fcntl

    manifest = tiles(tmp_path / "tiles", 3)
    lock = tmp_path / "out/.t0001.ampoule-lock"
    lock.parent.mkdir()
    with open(lock, "w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        release = threading.Timer(15.0, lambda: fcntl.flock(held, fcntl.LOCK_UN))
        release.start()
        seen = []
        found = run_cohort(
            manifest, spots, tmp_path / "out", memory="256M", progress=lambda o, n, name, s: seen.append((name, release.is_alive()))
        )
    assert found.code == 0 and seen[-1] == ("t0001", False)


@pytest.fixture
def bucket():
    """A bucket of a local server of object storage."""
    server_module = pytest.importorskip("moto.server")
    server = server_module.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    options = {"key": "k", "secret": "s", "client_kwargs": {"endpoint_url": f"http://{host}:{port}", "region_name": "us-east-1"}}
    import s3fs

    fs = s3fs.S3FileSystem(**options, skip_instance_cache=True)
    # Not `mkdir`, which names the region: object storage refuses the name of the one that it is in without.
    fs.call_s3("create_bucket", Bucket="cohort")
    yield fs, options
    server.stop()


@pytest.mark.timeout(600)
def test_object_storage_in_and_out(cluster, spots, bucket, tmp_path):
    fs, options = bucket
    manifest = tiles(tmp_path / "tiles", 6)
    for tile in manifest.parent.glob("*.png"):
        fs.put_file(str(tile), f"cohort/in/{tile.name}")
    # Relative to the manifest, by address, and one that is not there.
    lines = ["case,file", *(f"t{i:04},t{i:04}.png" for i in range(3))]
    lines += [*(f"t{i:04},s3://cohort/in/t{i:04}.png" for i in range(3, 6)), "gone,s3://cohort/in/gone.png"]
    fs.pipe_file("cohort/in/manifest.csv", "\n".join(lines).encode())
    found = run_cohort("s3://cohort/in/manifest.csv", spots, "s3://cohort/out", memory="256M", storage_options=options)
    assert found.counts == {"done": 6, "kept": 0, "failed": 1, "skipped": 0}
    [gone] = found.failures
    assert gone["file"] == "s3://cohort/in/gone.png" and gone["code"] == 3 and "gone.png" in gone["error"]
    local = run_cohort(manifest, spots, tmp_path / "out", memory="256M")
    for i in range(6):
        name = f"t{i:04}_mask.png"
        assert fs.cat_file(f"cohort/out/{name}") == (tmp_path / "out" / name).read_bytes()
    fs.get_file("cohort/out/results.parquet", str(tmp_path / "results.parquet"))
    assert len(statuses(tmp_path / "results.parquet")) == 7 and local.code == 0
    again = run_cohort("s3://cohort/in/manifest.csv", spots, "s3://cohort/out", memory="256M", storage_options=options)
    assert again.counts == {"done": 0, "kept": 6, "failed": 1, "skipped": 0}
    with pytest.raises(ampoule.UsageError, match="another cohort"):
        run_cohort(
            "s3://cohort/in/manifest.csv", spots, "s3://cohort/out", memory="256M", storage_options=options, precision="bf16"
        )


@pytest.mark.timeout(300)
def test_object_storage_that_does_not_answer(cluster, spots, tmp_path):
    silent = socket.create_server(("127.0.0.1", 0))
    port = silent.getsockname()[1]
    options = {"key": "k", "secret": "s", "client_kwargs": {"endpoint_url": f"http://127.0.0.1:{port}", "region_name": "us-east-1"}}
    manifest = tiles(tmp_path / "tiles", 1)
    manifest.write_text(manifest.read_text() + "far,s3://bucket/far.png\n")
    found = run_cohort(manifest, spots, tmp_path / "out", memory="256M", storage_options=options, storage_timeout=1.0)
    assert statuses(found.table) == {"t0000": "done", "far": "failed"}
    assert "no answer within 1 s" in found.failures[0]["error"] and found.code == 1
    with pytest.raises(ampoule.BadInput, match="no answer within"):
        run_cohort("s3://bucket/manifest.csv", spots, tmp_path / "other", storage_options=options, storage_timeout=0.5)
    silent.close()


def test_workers_that_cannot_start(cluster, spots, tmp_path):
    manifest = tiles(tmp_path / "tiles", 2)
    with pytest.raises(ampoule.UsageError, match="threads=64"):
        run_cohort(manifest, spots, tmp_path / "out", threads=64)
