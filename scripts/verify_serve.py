"""Starts `ampoule serve` and asks it with Triton's client, over HTTP and gRPC, then loads it on loopback for a bounded time.

    python -m venv .venv-serve && .venv-serve/bin/pip install 'tritonclient[http,grpc]' numpy
    .venv-serve/bin/python scripts/verify_serve.py AMPOULE [SECONDS]

Compares HTTP and gRPC, JSON and bytes; prints throughput, p50 and p99 at 1, 4 and 16 clients, and the memory of the
service before and after; keeps it under a limit; ends it in the middle of work. Ends with 1 when something is off.
"""
import atexit
import concurrent.futures
import json
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time
import urllib.request

import numpy as np
import tritonclient.grpc as triton_grpc
import tritonclient.http as triton_http
from tritonclient.utils import InferenceServerException

ampoule = sys.argv[1]
seconds = float(sys.argv[2]) if len(sys.argv) > 2 else 5.0
root = pathlib.Path(__file__).resolve().parent.parent
model = root / "assets/quick/discs.onnx"
failed = False


def say(ok, text):
    global failed
    failed |= not ok
    print(("ok   " if ok else "FAIL ") + text, flush=True)


def start(*more):
    command = [ampoule, "serve", model, "--port", "0", "--grpc-port", "0", "--json", *more]
    process = subprocess.Popen([str(c) for c in command], stdout=subprocess.PIPE)
    atexit.register(process.kill)
    return process, json.loads(process.stdout.readline())


def end(process, what):
    begun = time.time()
    process.send_signal(signal.SIGTERM)
    code = process.wait(300)
    say(code == 0, f"{what}: SIGTERM ends it with {code} after {time.time() - begun:.2f} s")


def resident(process):
    text = pathlib.Path(f"/proc/{process.pid}/status").read_text()
    row = {line.split(":")[0]: line.split()[1] for line in text.splitlines() if line.startswith("Vm")}
    return int(row["VmRSS"]) / 1024, int(row["VmHWM"]) / 1024


def image(side, seed):
    return np.random.default_rng(seed).uniform(0, 255, (1, 3, side, side)).astype(np.float32)


def by_http(client, x, binary):
    given = triton_http.InferInput("image", x.shape, "FP32")
    given.set_data_from_numpy(x, binary_data=binary)
    wanted = triton_http.InferRequestedOutput("prob", binary_data=binary)
    return client.infer("discs", [given], outputs=[wanted], request_id="7").as_numpy("prob")


def by_grpc(client, x):
    given = triton_grpc.InferInput("image", x.shape, "FP32")
    given.set_data_from_numpy(x)
    return client.infer("discs", [given], request_id="7").as_numpy("prob")


def refused(what, words, call):
    try:
        call()
        say(False, f"{what} is taken")
    except InferenceServerException as e:
        say(words in str(e), f"{what} is refused: {e}")


def protocol(address, grpc_address):
    http = triton_http.InferenceServerClient(address)
    grpc = triton_grpc.InferenceServerClient(grpc_address)
    for name, c in (("HTTP", http), ("gRPC", grpc)):
        alive = c.is_server_live(), c.is_server_ready(), c.is_model_ready("discs"), c.is_model_ready("none")
        say(alive == (True, True, True, False), f"{name}: live, ready, model ready, unknown model not: {alive}")
    told, told_too = http.get_model_metadata("discs"), grpc.get_model_metadata("discs", as_json=True)
    say(told["inputs"][0]["name"] == told_too["inputs"][0]["name"] == "image", f"metadata: {told['inputs']}")
    say(http.get_server_metadata()["name"] == grpc.get_server_metadata().name == "ampoule", "the server's metadata")
    for side in (16, 48, 200):
        x = image(side, side)
        a, b, c = by_http(http, x, True), by_http(http, x, False), by_grpc(grpc, x)
        same = np.array_equal(a, b) and np.array_equal(a, c)
        say(same and a.shape[-2:] == (side, side), f"{side} pixels: bytes, JSON and gRPC give the same {a.shape}")
    x = image(16, 0)
    refused("another type, HTTP", "FP32", lambda: http.infer("discs", [whole(triton_http)]))
    refused("another type, gRPC", "FP32", lambda: grpc.infer("discs", [whole(triton_grpc)]))
    refused("an unknown model, gRPC", "no model", lambda: grpc.infer("none", [whole(triton_grpc)]))


def whole(module):
    given = module.InferInput("image", (1, 3, 4, 4), "INT64")
    given.set_data_from_numpy(np.zeros((1, 3, 4, 4), np.int64))
    return given


def load(address, clients, kind, seconds):
    """Requests of `clients` at once for a bounded time: how many a second, and how long each takes."""
    times, lock, stop = [], threading.Lock(), time.time() + seconds
    x = image(128, 1)

    def work(_):
        if kind == "http":
            client = triton_http.InferenceServerClient(address)
            ask = lambda: by_http(client, x, True)
        else:
            client = triton_grpc.InferenceServerClient(address)
            ask = lambda: by_grpc(client, x)
        first, own = ask(), []
        while not own or time.time() < stop and len(own) < 20000:
            begun = time.perf_counter()
            out = ask()
            own.append(time.perf_counter() - begun)
            assert np.array_equal(out, first)
        with lock:
            times.extend(own)

    begun = time.time()
    with concurrent.futures.ThreadPoolExecutor(clients) as pool:
        list(pool.map(work, range(clients)))
    took = time.time() - begun
    p50, p99 = np.percentile(times, [50, 99]) * 1e3
    print(f"     {kind:4} {clients:2} clients: {len(times) / took:7.1f} requests/s, p50 {p50:6.1f} ms, p99 {p99:6.1f} ms, n {len(times)}")


def main():
    process, at = start()
    protocol(at["address"], at["grpc"])
    load(at["address"], 4, "http", 1)
    before = resident(process)[0]
    for kind, address in (("http", at["address"]), ("grpc", at["grpc"])):
        for clients in (1, 4, 16):
            load(address, clients, kind, seconds)
    after, peak = resident(process)
    say(after < before + 32, f"memory: {before:.0f} MiB before, {after:.0f} MiB after, {peak:.0f} MiB at the peak")
    end(process, "idle")

    limit = 300
    process, at = start("--max-ram", f"{limit}M")
    http = triton_http.InferenceServerClient(at["address"])
    grpc = triton_grpc.InferenceServerClient(at["grpc"])
    for side in (64, 512, 800):
        by_http(http, image(side, 0), True)
    for name, call in (("HTTP", lambda: by_http(http, image(3000, 0), True)), ("gRPC", lambda: by_grpc(grpc, image(3000, 0)))):
        refused(f"an image of 3000 pixels under {limit} MiB, {name}", "--max-ram", call)
    by_http(http, image(64, 0), True)
    peak = resident(process)[1]
    say(peak < limit, f"--max-ram {limit}M: {peak:.0f} MiB at the peak")
    end(process, "limited")

    process, at = start()
    http = triton_http.InferenceServerClient(at["address"], network_timeout=60, connection_timeout=60)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        running = pool.submit(by_http, http, image(1000, 0), True)
        while True:
            text = urllib.request.urlopen(f"http://{at['address']}/metrics").read().decode()
            if 'ampoule_requests_running{model="discs"} 1' in text or running.done():
                break
        end(process, "busy")
        say(running.result().shape[-1] == 1000, "what ran was finished")

    token = "a-token-of-enough-characters"
    process = subprocess.Popen(
        [ampoule, "serve", str(model), "--port", "0", "--grpc-port", "0", "--json", "--quiet"],
        stdout=subprocess.PIPE, env={**os.environ, "AMPOULE_TOKEN": token},
    )
    atexit.register(process.kill)
    at = json.loads(process.stdout.readline())
    grpc = triton_grpc.InferenceServerClient(at["grpc"])
    refused("gRPC without the token", "token", lambda: grpc.get_model_metadata("discs"))
    told = grpc.get_model_metadata("discs", headers={"authorization": f"Bearer {token}"})
    say(told.name == "discs", "gRPC with the token")
    end(process, "with a token")
    sys.exit(failed)


main()
