"""Time and memory of a training step of an ONNX graph in PyTorch: step_torch.py MODEL 4x3x256x256 THREADS STEPS.

The same step as `cargo run --release -p ampoule-train --example step`: batch statistics, cross-entropy of the logits,
AdamW, gradients clipped at 5. Operators as in crates/study/src/torch.py; needs torch, numpy and onnx.
"""

import io
import pathlib
import resource
import sys
import time

model, shape, threads, steps = sys.argv[1], [int(n) for n in sys.argv[2].split("x")], sys.argv[3], int(sys.argv[4])
source = (pathlib.Path(__file__).parent.parent / "crates/study/src/torch.py").read_text()
sys.argv = ["torch.py", model, threads]
sys.stdin = io.StringIO()
scope = {"__name__": "ops"}
exec(compile(source, "torch.py", "exec"), scope)

import torch  # noqa: E402
import torch.nn.functional as F  # noqa: E402

torch.set_grad_enabled(True)
torch.manual_seed(0)
constants, nodes = scope["constants"], scope["nodes"]


def batch_norm(a, x, scale, bias, mean, variance):
    return F.batch_norm(x, mean, variance, scale, bias, True, 0.1, a.get("epsilon", 1e-5))


running, used = set(), set()
for i, (op, a, names, out) in enumerate(nodes):
    used.update(names)
    if op is scope["batch_norm"]:
        nodes[i] = (batch_norm, a, names, out)
        running.update(names[3:])
for name, t in constants.items():
    if t.is_floating_point() and t.dim() > 0 and t.numel() > 4 or name.endswith(("weight", "bias")):
        constants[name] = t.requires_grad_(name not in running)
weights = [t for t in constants.values() if t.requires_grad]
optimizer = torch.optim.AdamW(weights, lr=1e-3, weight_decay=1e-3)
logits = next(names[0] for op, _, names, out in nodes if out == scope["outputs"][0])
x = torch.randn(shape)
times = []
for step in range(steps):
    start = time.perf_counter()
    values = {scope["inputs"][0][0]: x}
    for op, a, names, out in nodes:
        if out == scope["outputs"][0]:
            break
        values[out] = op(a, *[None if not n else constants[n] if n in constants else values[n] for n in names])
    z = values[logits]
    del values
    y = torch.randint(0, z.shape[1], (z.shape[0], *z.shape[2:]), generator=torch.Generator().manual_seed(step))
    loss = F.cross_entropy(z, y)
    optimizer.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(weights, 5.0)
    optimizer.step()
    times.append(1e3 * (time.perf_counter() - start))
    print(f"step {step}: {times[-1]:.0f} ms, loss {loss.item():.4f}")
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
print(f"median {sorted(times)[len(times) // 2]:.0f} ms; VmHWM {peak} MiB")
