"""Gradients and steps of small networks by PyTorch, for the tests of crates/train.

Run in the environment of tools/peers.sh --study (torch, onnx); writes crates/train/tests/golden.
"""

import io
import json
import pathlib
import struct

import onnx
import torch
from torch import nn
from torch.nn import functional as F

OUT = pathlib.Path(__file__).parent.parent / "crates/train/tests/golden"


class Residual(nn.Module):
    """2D: batch norm, residual sums, strides, transposed convolution, concatenation, bilinear."""

    def __init__(self):
        super().__init__()
        self.a = nn.Conv2d(3, 8, 3, padding=1)
        self.na = nn.BatchNorm2d(8)
        self.b = nn.Conv2d(8, 8, 3, padding=1)
        self.nb = nn.BatchNorm2d(8)
        self.c = nn.Conv2d(8, 16, 3, stride=2, padding=1)
        self.nc = nn.BatchNorm2d(16)
        self.d = nn.Conv2d(16, 16, 3, padding=2, dilation=2, bias=False)
        self.u = nn.ConvTranspose2d(16, 8, 2, stride=2)
        self.e = nn.Conv2d(32, 4, 1)
        self.f = nn.Conv2d(4, 3, 3, padding=1)

    def forward(self, x):
        a = F.leaky_relu(self.na(self.a(x)), 0.01)
        b = a + self.b(a)
        c = F.relu(self.nc(self.c(F.relu(self.nb(b)))))
        d = self.d(c) + c
        up = F.interpolate(d, scale_factor=2, mode="bilinear", align_corners=True)
        y = torch.cat([self.u(d), up, b], 1)
        return self.f(torch.tanh(self.e(y)))


class Volume(nn.Module):
    """3D: instance norm, strides, transposed convolution with output padding, trilinear, SiLU, Mish."""

    def __init__(self):
        super().__init__()
        self.a = nn.Conv3d(1, 6, 3, padding=1)
        self.na = nn.InstanceNorm3d(6, affine=True)
        self.b = nn.Conv3d(6, 10, 3, stride=2, padding=1)
        self.nb = nn.InstanceNorm3d(10, affine=True)
        self.u = nn.ConvTranspose3d(10, 6, 3, stride=2, padding=1, output_padding=1)
        self.c = nn.Conv3d(12, 5, 3, padding=1)
        self.d = nn.Conv3d(5, 2, 1)

    def forward(self, x):
        a = F.leaky_relu(self.na(self.a(x)), 0.1)
        b = F.silu(self.nb(self.b(a)))
        m = F.max_pool3d(a, 3, 2, 1)
        up = F.interpolate(m, scale_factor=2, mode="trilinear", align_corners=False)
        u = self.u(b) * torch.sigmoid(up)
        return self.d(F.mish(self.c(torch.cat([u, a], 1))))


class Mobile(nn.Module):
    """Depthwise and grouped convolutions, squeeze and excitation, group norm, GELU, pooling, a classifier."""

    def __init__(self):
        super().__init__()
        self.a = nn.Conv2d(3, 12, 3, padding=1, bias=False)
        self.na = nn.BatchNorm2d(12)
        self.dw = nn.Conv2d(12, 12, 3, stride=2, padding=1, groups=12)
        self.nd = nn.BatchNorm2d(12)
        self.s1 = nn.Conv2d(12, 4, 1)
        self.s2 = nn.Conv2d(4, 12, 1)
        self.g = nn.Conv2d(12, 16, 3, padding=1, groups=4)
        self.ng = nn.GroupNorm(4, 16)
        self.l = nn.Linear(16, 5)

    def forward(self, x):
        x = F.hardswish(self.na(self.a(x)))
        x = F.elu(self.nd(self.dw(x)))
        s = F.adaptive_avg_pool2d(x, 1)
        x = x * F.hardsigmoid(self.s2(F.relu(self.s1(s))))
        x = F.gelu(self.ng(self.g(x)))
        x = F.avg_pool2d(x, 3, 2, 1, count_include_pad=False)
        return self.l(F.adaptive_avg_pool2d(x, 1).flatten(1))


class Plain(nn.Module):
    """Convolutions, pooling, and a row of two matrices over a flattened image."""

    def __init__(self):
        super().__init__()
        self.a = nn.Conv2d(3, 7, 5, stride=2, padding=2)
        self.b = nn.Conv2d(7, 9, 3, padding=1)
        self.l = nn.Linear(9 * 4 * 3, 11)
        self.m = nn.Linear(11, 2)

    def forward(self, x):
        x = F.relu6(self.a(x))
        x = F.max_pool2d(F.relu(self.b(x)), 2)
        return self.m(F.relu(self.l(x.flatten(1))))


def soft_dice(z, y):
    p = torch.softmax(z, 1)
    t = F.one_hot(y, z.shape[1]).movedim(-1, 1).float()
    over = [0, *range(2, z.dim())]
    dice = (2 * (p * t).sum(over) + 1) / (p.sum(over) + t.sum(over) + 1)
    return 1 - dice[1:].mean()


def train(name, net, shape, seed):
    torch.manual_seed(seed)
    net = net().double()
    for p in net.parameters():
        # Norms of fresh networks are ones and zeros, which would hide mistakes.
        p.data += 0.1 * torch.randn_like(p)
    x = torch.randn(shape, dtype=torch.float64)
    net.train()
    state = {k: v.clone() for k, v in net.state_dict().items()}
    classes = net(x).shape[1]
    net.load_state_dict(state)
    buffer = io.BytesIO()
    torch.onnx.export(
        net.float(), x.float(), buffer, dynamo=False, opset_version=18, input_names=["x"], output_names=["z"],
        training=torch.onnx.TrainingMode.TRAINING, do_constant_folding=False,
    )
    net = net.double()
    net.load_state_dict(state)
    model = onnx.load_from_string(buffer.getvalue())
    for node in model.graph.node:
        if node.op_type == "BatchNormalization":
            # As deployed files have it.
            del node.output[1:]
            for a in list(node.attribute):
                if a.name == "training_mode":
                    node.attribute.remove(a)
    for t in model.graph.initializer:
        if t.name in state:
            # Tracing follows running statistics.
            t.CopyFrom(onnx.numpy_helper.from_array(state[t.name].float().numpy(), t.name))
    onnx.save(model, OUT / f"{name}.onnx")

    logits = net(x)
    net.load_state_dict(state)
    spatial = logits.shape[2:]
    y = torch.randint(0, classes, (shape[0], *spatial))
    arrays, steps = {}, {}

    def keep(key, t):
        arrays[key] = t.detach().float()

    def loss_of(z):
        loss = F.cross_entropy(z, y, label_smoothing=0.05)
        return loss + soft_dice(z, y) if spatial else loss

    keep("x", x)
    keep("z", logits)
    for kind in ["sgd", "adam", "adamw"]:
        net.load_state_dict(state)
        weights = [p for p in net.parameters() if p.dim() > 1]
        others = [p for p in net.parameters() if p.dim() <= 1]
        groups = [{"params": weights, "weight_decay": 0.01}, {"params": others, "weight_decay": 0.0}]
        optimizer = {
            "sgd": lambda: torch.optim.SGD(groups, lr=0.01, momentum=0.9),
            "adam": lambda: torch.optim.Adam(groups, lr=0.01),
            "adamw": lambda: torch.optim.AdamW(groups, lr=0.01),
        }[kind]()
        losses = []
        for step in range(3):
            optimizer.zero_grad()
            loss = loss_of(net(x))
            loss.backward()
            if kind == "sgd" and step == 0:
                for k, p in net.named_parameters():
                    keep(f"grad/{k}", p.grad)
            losses.append(loss.item())
            optimizer.step()
        steps[kind] = losses
        for k, p in net.state_dict().items():
            if p.is_floating_point():
                keep(f"{kind}/{k}", p)
    index, data = {}, b""
    for k, t in arrays.items():
        index[k] = {"dims": list(t.shape), "at": len(data) // 4}
        flat = t.flatten().tolist()
        data += struct.pack(f"<{len(flat)}f", *flat)
    (OUT / f"{name}.bin").write_bytes(data)
    text = {"labels": y.flatten().tolist(), "losses": steps, "arrays": index}
    (OUT / f"{name}.json").write_text(json.dumps(text) + "\n")


OUT.mkdir(parents=True, exist_ok=True)
train("residual", Residual, (2, 3, 16, 12), 1)
train("volume", Volume, (2, 1, 8, 12, 8), 2)
train("mobile", Mobile, (3, 3, 14, 10), 3)
train("plain", Plain, (4, 3, 16, 12), 4)
