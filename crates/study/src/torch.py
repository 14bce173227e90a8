"""Runs an ONNX graph with PyTorch in eager mode, node by node: torch_eager.py MODEL THREADS.

Lines on standard input: `run FOLDER` reads FOLDER/in0.f32 ... (float32, row-major), writes FOLDER/out0.f32 ... and
prints milliseconds in the network, the highest resident memory in MiB, and the number of outputs. Needs torch, numpy
and onnx.
"""

import resource
import sys
import time

import numpy as np
import onnx
import torch
import torch.nn.functional as F
from onnx import numpy_helper

MARK = "ampoule-torch"
torch.set_num_threads(int(sys.argv[2]))
torch.set_flush_denormal(True)
torch.set_grad_enabled(False)


def say(*words):
    print(MARK, *words, flush=True)


def attributes(node):
    return {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}


def text(value):
    return value.decode() if isinstance(value, bytes) else value


def same(pads):
    """Pads at the beginning and end of every axis, where they are equal."""
    half = len(pads) // 2
    return pads[:half] if list(pads[:half]) == list(pads[half:]) else None


def padded(x, pads, value=0.0):
    half = len(pads) // 2
    flat = [p for i in reversed(range(half)) for p in (pads[i], pads[i + half])]
    return F.pad(x, flat, value=value)


def conv(a, x, w, b=None):
    n = w.dim() - 2
    pads = list(a.get("pads", [0] * 2 * n))
    pad = same(pads)
    if pad is None:
        x, pad = padded(x, pads), [0] * n
    op = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}[n]
    return op(x, w, b, a.get("strides", [1] * n), pad, a.get("dilations", [1] * n), a.get("group", 1))


def transposed(a, x, w, b=None):
    n = w.dim() - 2
    pad = same(list(a.get("pads", [0] * 2 * n)))
    if pad is None:
        raise NotImplementedError("ConvTranspose with unequal pads")
    op = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}[n]
    rest = a.get("output_padding", [0] * n)
    return op(x, w, b, a.get("strides", [1] * n), pad, rest, a.get("group", 1), a.get("dilations", [1] * n))


def pool(kind):
    def run(a, x):
        n, pads = x.dim() - 2, list(a.get("pads", [0] * 2 * (x.dim() - 2)))
        size, strides = a["kernel_shape"], a.get("strides", [1] * n)
        ceil, pad = bool(a.get("ceil_mode", 0)), same(pads)
        if kind == "max":
            if pad is None or any(2 * p > k for p, k in zip(pad, size)):
                x, pad = padded(x, pads, float("-inf")), [0] * n
            op = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}[n]
            return op(x, size, strides, pad, a.get("dilations", [1] * n), ceil)
        if pad is None:
            raise NotImplementedError("AveragePool with unequal pads")
        op = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}[n]
        return op(x, size, strides, pad, ceil, bool(a.get("count_include_pad", 0)))

    return run


def resize(a, x, roi=None, scales=None, sizes=None):
    n = x.dim() - 2
    to = sizes[2:].tolist() if sizes is not None and sizes.numel() else None
    if to is None:
        to = [int(s * d) for s, d in zip(scales[2:].tolist(), x.shape[2:])]
    where = text(a.get("coordinate_transformation_mode", "half_pixel"))
    if text(a.get("mode", "nearest")) == "nearest":
        exact = where.startswith("half_pixel") and text(a.get("nearest_mode", "")) == "round_prefer_floor"
        whole = all(t % d == 0 for t, d in zip(to, x.shape[2:]))
        return F.interpolate(x, to, mode="nearest" if whole or not exact else "nearest-exact")
    mode = {1: "linear", 2: "bilinear", 3: "trilinear"}[n]
    return F.interpolate(x, to, mode=mode, align_corners=where == "align_corners")


def gemm(a, x, w, b=None):
    x = x.T if a.get("transA", 0) else x
    w = w.T if a.get("transB", 0) else w
    y = a.get("alpha", 1.0) * (x @ w)
    return y if b is None else y + a.get("beta", 1.0) * b


def batch_norm(a, x, scale, bias, mean, variance):
    return F.batch_norm(x, mean, variance, scale, bias, False, 0.0, a.get("epsilon", 1e-5))


def reduce_mean(a, x, axes=None):
    axes = axes.tolist() if axes is not None else a.get("axes")
    return x.mean(dim=axes, keepdim=bool(a.get("keepdims", 1)))


def reshape(a, x, shape):
    to = [x.shape[i] if d == 0 else d for i, d in enumerate(shape.tolist())]
    return x.reshape(to)


def clip(a, x, low=None, high=None):
    low = a.get("min") if low is None else low
    high = a.get("max") if high is None else high
    return torch.clamp(x, low, high)


def pad(a, x, pads=None, value=None):
    pads = pads.tolist() if pads is not None else a["pads"]
    return padded(x, pads, float(value) if value is not None else a.get("value", 0.0))


def slices(a, x, starts, ends, axes=None, steps=None):
    axes = axes.tolist() if axes is not None else range(len(starts))
    steps = steps.tolist() if steps is not None else [1] * len(starts)
    index = [slice(None)] * x.dim()
    for s, e, k, step in zip(starts.tolist(), ends.tolist(), axes, steps):
        index[k] = slice(s, min(e, x.shape[k]), step)
    return x[tuple(index)]


OPS = {
    "Add": lambda a, x, y: x + y,
    "AveragePool": pool("average"),
    "BatchNormalization": batch_norm,
    "Clip": clip,
    "Concat": lambda a, *x: torch.cat(x, a["axis"]),
    "Conv": conv,
    "ConvTranspose": transposed,
    "Div": lambda a, x, y: x / y,
    "Dropout": lambda a, x, *_: x,
    "Erf": lambda a, x: torch.erf(x),
    "Exp": lambda a, x: torch.exp(x),
    "Flatten": lambda a, x: x.flatten(a.get("axis", 1)),
    "Gemm": gemm,
    "GlobalAveragePool": lambda a, x: x.mean(dim=list(range(2, x.dim())), keepdim=True),
    "HardSigmoid": lambda a, x: torch.clamp(a.get("alpha", 0.2) * x + a.get("beta", 0.5), 0, 1),
    "HardSwish": lambda a, x: F.hardswish(x),
    "Identity": lambda a, x: x,
    "InstanceNormalization": lambda a, x, s, b: F.instance_norm(x, weight=s, bias=b, eps=a.get("epsilon", 1e-5)),
    "LeakyRelu": lambda a, x: F.leaky_relu(x, a.get("alpha", 0.01)),
    "LogSoftmax": lambda a, x: F.log_softmax(x, a.get("axis", -1)),
    "MatMul": lambda a, x, y: x @ y,
    "MaxPool": pool("max"),
    "Mish": lambda a, x: F.mish(x),
    "Mul": lambda a, x, y: x * y,
    "PRelu": lambda a, x, s: torch.where(x >= 0, x, x * s),
    "Pad": pad,
    "Pow": lambda a, x, y: torch.pow(x, y),
    "ReduceMean": reduce_mean,
    "Relu": lambda a, x: F.relu(x),
    "Reshape": reshape,
    "Resize": resize,
    "Sigmoid": lambda a, x: torch.sigmoid(x),
    "Slice": slices,
    "Softmax": lambda a, x: F.softmax(x, a.get("axis", -1)),
    "Softplus": lambda a, x: F.softplus(x),
    "Sqrt": lambda a, x: torch.sqrt(x),
    "Squeeze": lambda a, x, axes: x.squeeze(tuple(axes.tolist())),
    "Sub": lambda a, x, y: x - y,
    "Tanh": lambda a, x: torch.tanh(x),
    "Transpose": lambda a, x: x.permute(a["perm"]),
    "Unsqueeze": lambda a, x, axes: x[(None,) * len(axes)] if axes.tolist() == list(range(len(axes))) else x.unsqueeze(int(axes[0])),
}

graph = onnx.load(sys.argv[1]).graph


def tensor(t):
    value = torch.from_numpy(np.array(numpy_helper.to_array(t)))
    return value.float() if value.dtype in (torch.float16, torch.float64) else value


constants = {t.name: tensor(t) for t in graph.initializer}
nodes = []
for n in graph.node:
    a = attributes(n)
    if n.op_type == "Constant":
        constants[n.output[0]] = tensor(a["value"])
    elif n.op_type == "Cast":
        nodes.append((lambda a, x: x, a, list(n.input), n.output[0]))
    elif n.op_type in OPS:
        nodes.append((OPS[n.op_type], a, list(n.input), n.output[0]))
    else:
        sys.exit(f"the PyTorch baseline does not know the operator {n.op_type}")
last = {}
for i, (_, _, names, _) in enumerate(nodes):
    last.update({name: i for name in names})
inputs = [(v.name, [d.dim_value for d in v.type.tensor_type.shape.dim]) for v in graph.input if v.name not in constants]
outputs = [v.name for v in graph.output]


def network(values):
    for i, (op, a, names, out) in enumerate(nodes):
        get = [None if not n else constants[n] if n in constants else values[n] for n in names]
        values[out] = op(a, *get)
        for n in names:
            # As a program would let go of them.
            if last[n] == i and n in values and n not in outputs:
                del values[n]
    return [values[o] for o in outputs]


say("torch", torch.__version__)
for line in sys.stdin:
    folder = line.split(" ", 1)[1].strip()
    given = {}
    for i, (name, dims) in enumerate(inputs):
        given[name] = torch.from_numpy(np.fromfile(f"{folder}/in{i}.f32", "<f4").reshape(dims))
    start = time.perf_counter()
    found = network(given)
    ms = 1e3 * (time.perf_counter() - start)
    for i, y in enumerate(found):
        y.contiguous().numpy().astype("<f4").tofile(f"{folder}/out{i}.f32")
    say(ms, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, len(found))
