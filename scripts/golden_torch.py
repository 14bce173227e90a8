"""Makes crates/torch/tests/golden: small networks of torchvision, timm, segmentation_models_pytorch and MONAI as
TorchScript and torch.export archives, with an input and what PyTorch computes of it.

    python -m venv .venv-torch
    .venv-torch/bin/pip install torch==2.9.1 torchvision==0.24.1 timm==1.0.22 segmentation-models-pytorch==0.5.0 monai==1.5.1 "numpy<2.4"
    .venv-torch/bin/python scripts/golden_torch.py crates/torch/tests/golden [NAME…]

Weights are random, rounded to three values a tensor so that the archives deflate; normalisations have statistics that
are not trivial. Archives are written anew, deflated and without what is for debuggers. The same versions give the same
networks.
"""
import io
import pathlib
import sys
import warnings
import zipfile

import numpy as np
import torch

warnings.filterwarnings("ignore")
torch.set_num_threads(1)
OUT = pathlib.Path(sys.argv[1])
ONLY = sys.argv[2:]
# KB; larger archives are made when they are asked for by name.
LARGEST = 300
OUT.mkdir(parents=True, exist_ok=True)


def rounded(m):
    """Few distinct weights, and statistics that matter."""
    g = torch.Generator().manual_seed(7)
    for name, p in list(m.named_parameters()):
        if p.ndim > 1 and p.detach().std() == 0:
            p.data = torch.randint(-1, 2, p.shape, generator=g) / 8
        elif p.ndim > 1 and p.numel() > 64:
            s = p.detach().std().clamp(min=0.05)
            p.data = (p.detach() / s).round().clamp(-1, 1) * s
        elif p.ndim == 1 and p.numel() > 1:
            p.data = p.detach() + (torch.rand(p.shape, generator=g) * 4).round() / 16
    for name, b in m.named_buffers():
        if name.endswith("running_mean"):
            b.copy_((torch.rand(b.shape, generator=g) * 4 - 2).round() / 16)
        if name.endswith("running_var"):
            b.copy_(0.75 + (torch.rand(b.shape, generator=g) * 4).round() / 8)
    return m.eval()


def write(name, data):
    """An archive, deflated, without debugging information and example inputs."""
    source = zipfile.ZipFile(io.BytesIO(data))
    with zipfile.ZipFile(OUT / name, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as z:
        for i in sorted(source.infolist(), key=lambda i: i.filename):
            if i.filename.endswith((".debug_pkl", "serialization_id")) or "sample_inputs" in i.filename:
                continue
            z.writestr(zipfile.ZipInfo(i.filename), source.read(i), zipfile.ZIP_DEFLATED, 9)
    size = (OUT / name).stat().st_size // 1024
    if size > LARGEST and not ONLY:
        (OUT / name).unlink()
        return f"(left out) {size}"
    return size


def old_layout(program):
    """As PyTorch before 2.8 laid an exported program out."""
    from torch._export.serde.serialize import serialize

    a = serialize(program)
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as z:
        z.writestr("serialized_exported_program.json", a.exported_program)
        z.writestr("serialized_state_dict.pt", a.state_dict)
        z.writestr("serialized_constants.pt", a.constants)
        z.writestr("version", "8.8")
    return out.getvalue()


def case(name, make, *shape, forms="trace export"):
    if ONLY and name not in ONLY:
        return
    torch.manual_seed(1)
    try:
        m = rounded(make())
        x = torch.randn(*shape)
        with torch.no_grad():
            y, other = m(x), m(1.5 * x + 0.5)
        first = lambda r: r if torch.is_tensor(r) else list(r.values())[0] if isinstance(r, dict) else r[0]
        if (first(y) - first(other)).abs().max() < 1e-3 * first(y).abs().max():
            print(f"{name}: its output hardly depends on its input", flush=True)
    except Exception as e:
        print(f"{name}: {e!r}"[:300], flush=True)
        return
    y = list(y.values()) if isinstance(y, dict) else [y] if torch.is_tensor(y) else list(y)
    arrays = {"x0": x.numpy(), **{f"y{i}": t.numpy() for i, t in enumerate(y)}}
    made = []
    for form in forms.split():
        buffer = io.BytesIO()
        try:
            with torch.no_grad():
                if form == "trace":
                    torch.jit.save(torch.jit.trace(m, x, check_trace=False, strict=False), buffer)
                    size = write(f"{name}.ts", buffer.getvalue())
                elif form == "script":
                    torch.jit.save(torch.jit.script(m), buffer)
                    size = write(f"{name}_script.ts", buffer.getvalue())
                else:
                    free = {"x": {0: torch.export.Dim.AUTO}} if form == "free" else None
                    program = torch.export.export(m, (x,), dynamic_shapes=({0: torch.export.Dim.AUTO},) if free else None)
                    if form == "decomposed":
                        program = program.run_decompositions()
                    if form == "old":
                        size = write(f"{name}_old.pt2", old_layout(program))
                    else:
                        torch.export.save(program, buffer)
                        ending = {"export": "", "free": "_free", "decomposed": "_decomposed"}[form]
                        size = write(f"{name}{ending}.pt2", buffer.getvalue())
            made.append(f"{form} {size} KB")
        except Exception as e:
            made.append(f"{form}: {e!r}"[:200])
    if any((OUT / f"{name}{e}").exists() for e in [".ts", "_script.ts", ".pt2", "_free.pt2"]):
        np.savez_compressed(OUT / f"{name}.npz", **arrays)
    print(f"{name}: {', '.join(made)}", flush=True)


# What three values a weight do to a deep network is nobody's business here: only that both compute the same.
import torchvision.models as tv
from torchvision.models.mobilenetv3 import MobileNetV3, _mobilenet_v3_conf
from torchvision.models.densenet import DenseNet
from torchvision.models.regnet import BlockParams, RegNet
from torchvision.models.swin_transformer import SwinTransformer, SwinTransformerBlock, SwinTransformerBlockV2, PatchMergingV2
from torchvision.models.convnext import CNBlockConfig, ConvNeXt

ALL = "trace script export"
case("tv_mobilenet_v2", lambda: tv.mobilenet_v2(width_mult=0.1, num_classes=5), 2, 3, 32, 32, forms=ALL + " free old decomposed")
case("tv_mobilenet_v3", lambda: MobileNetV3(_mobilenet_v3_conf("mobilenet_v3_small", width_mult=0.1)[0], 32, num_classes=5), 1, 3, 32, 32, forms=ALL)
case("tv_densenet", lambda: DenseNet(growth_rate=4, block_config=(2, 2), num_init_features=8, num_classes=5), 1, 3, 32, 32, forms=ALL)
case("tv_regnet", lambda: RegNet(BlockParams([1, 1], [16, 32], [8, 8], [1.0, 1.0], [2, 2], 0.25), num_classes=5, stem_width=8), 1, 3, 32, 32, forms=ALL)
case("tv_convnext", lambda: ConvNeXt([CNBlockConfig(8, 16, 1), CNBlockConfig(16, None, 1)], num_classes=5), 1, 3, 32, 32, forms=ALL)
case("tv_swin", lambda: SwinTransformer([4, 4], 16, [2, 2], [2, 4], [4, 4], num_classes=5, block=SwinTransformerBlock), 1, 3, 40, 40, forms=ALL)
case("tv_swin_v2", lambda: SwinTransformer([4, 4], 16, [2], [2], [4, 4], num_classes=5, block=SwinTransformerBlockV2, downsample_layer=PatchMergingV2), 1, 3, 40, 40, forms="trace export")
case("tv_vit", lambda: tv.VisionTransformer(image_size=32, patch_size=8, num_layers=2, num_heads=2, hidden_dim=16, mlp_dim=32, num_classes=5), 1, 3, 32, 32, forms="trace export")
case("tv_shufflenet", lambda: tv.ShuffleNetV2([2, 2, 2], [8, 16, 32, 32, 32], num_classes=5), 1, 3, 32, 32, forms=ALL)


class Pieces(torch.nn.Module):
    """Operators that the networks below do not have."""

    def forward(self, x):
        a = torch.roll(x, (1, -2), (2, 3)) + torch.flip(x, (3,))
        b = torch.nn.functional.adaptive_avg_pool2d(x, (3, 5)).flatten(1).cumsum(1)
        c = torch.nn.functional.interpolate(x, size=(13, 11), mode="bilinear", align_corners=False)
        d = torch.nn.functional.interpolate(x, scale_factor=1.5, mode="nearest")
        e = torch.nn.functional.pad(c, (1, 2, 0, 1), mode="reflect")
        y = x.clone()
        y[:, :, 2:5, 1] = 3.0
        y[:, 1].mul_(0.5)
        values, places = x.max(dim=1)
        f = torch.where(x > 0, x, torch.tensor(0.25)) // 0.5
        g = x.var((2, 3), keepdim=True).sqrt() + x.std((2, 3), keepdim=True, unbiased=False)
        return a, b, d, e, y, values, f, g, torch.einsum("nchw,ndhw->ncd", x, x)


case("pieces", Pieces, 2, 3, 10, 12, forms="trace export")


class Windows(torch.nn.Module):
    """Windows as elements, and back."""

    def forward(self, x):
        f = torch.nn.functional
        a = f.unfold(x, (3, 2), dilation=(1, 2), padding=(1, 0), stride=(2, 1))
        b = f.fold(a * 0.5 + 1, (10, 12), (3, 2), dilation=(1, 2), padding=(1, 0), stride=(2, 1))
        c = f.fold(f.unfold(x, 2, stride=2) + 1, (10, 12), 2, stride=2)
        d = x.unfold(2, 4, 3).unfold(3, 5, 2)
        e = x.repeat_interleave(3, dim=1)
        i, j = torch.tensor([[0, 2], [4, 1]]), torch.tensor([3, 5])
        return a, b, c, d, e, x[:, :, i, j], x[:, 1:, i[0], :][..., j]


case("windows", Windows, 2, 3, 10, 12, forms="trace export")


class Recurrent(torch.nn.Module):
    """Layers over sequences, in both directions and with states."""

    def __init__(self):
        super().__init__()
        self.lstm = torch.nn.LSTM(6, 5, num_layers=2, bidirectional=True, batch_first=True)
        self.gru = torch.nn.GRU(10, 4, bias=False)
        self.plain = torch.nn.GRU(6, 3, num_layers=2)

    def forward(self, x):
        y, (h, c) = self.lstm(x)
        z, g = self.gru(y)
        return z, h, c, g, self.plain(x, 0.5 * torch.ones(2, x.shape[1], 3))[0]


case("recurrent", Recurrent, 3, 7, 6, forms="trace export")


class Looped(torch.nn.Module):
    """Control flow over sizes, dictionaries and lists, as scripted networks have it."""

    def __init__(self):
        super().__init__()
        self.layers = torch.nn.ModuleList(torch.nn.Conv2d(3, 3, 3, padding=1) for _ in range(3))
        self.scale = 0.5

    def forward(self, x):
        kept = [x]
        for i, layer in enumerate(self.layers):
            x = torch.relu(layer(x))
            if i % 2 == 0 and x.size(1) == 3:
                kept.append(x * self.scale)
        n = 0
        while n < len(kept):
            n += 1
        if x.dim() != 4:
            raise ValueError("four axes")
        h, w = x.shape[-2:]
        small = torch.nn.functional.interpolate(x, size=[h // 2, w // 2], mode="nearest")
        return {"sum": torch.stack(kept).sum(0) / n, "small": small}


case("looped", Looped, 1, 3, 12, 14, forms="script export")

import monai.networks.nets as mn

case("monai_unet", lambda: mn.UNet(3, 1, 3, (4, 8, 16), (2, 2), num_res_units=1), 1, 1, 16, 16, 16, forms=ALL)
case("monai_unet_2d", lambda: mn.UNet(2, 3, 2, (4, 8, 16), (2, 2), num_res_units=2, norm="batch"), 1, 3, 32, 32, forms=ALL)
case("monai_segresnet", lambda: mn.SegResNet(3, 8, 1, 2, blocks_down=(1, 1, 1), blocks_up=(1, 1)), 1, 1, 16, 16, 16)
case("monai_dynunet", lambda: mn.DynUNet(3, 1, 3, [3, 3, 3], [1, 2, 2], [2, 2], filters=[4, 8, 8], res_block=True), 1, 1, 16, 16, 16)
case("monai_unetr", lambda: mn.UNETR(1, 2, (32, 32, 32), feature_size=4, hidden_size=16, mlp_dim=32, num_heads=2), 1, 1, 32, 32, 32)
case("monai_swinunetr", lambda: mn.SwinUNETR(1, 2, feature_size=12, spatial_dims=2, depths=(1, 1, 1, 1), num_heads=(1, 1, 2, 2)), 1, 1, 64, 64)
case("monai_attentionunet", lambda: mn.AttentionUnet(2, 1, 2, (4, 8, 16), (2, 2)), 1, 1, 32, 32)
case("monai_basicunet", lambda: mn.BasicUNet(2, 1, 2, features=(4, 4, 8, 8, 8, 4)), 1, 1, 32, 32, forms=ALL)
case("monai_highresnet", lambda: mn.HighResNet(2, 1, 2), 1, 1, 24, 24)

import timm

for n in ["test_resnet", "test_vit", "test_vit3", "test_efficientnet", "test_byobnet", "test_convnext", "test_nfnet", "test_mambaout"]:
    case(f"timm_{n}", lambda: timm.create_model(n, num_classes=5), 1, 3, 160 if "vit" in n else 64, 160 if "vit" in n else 64)

import segmentation_models_pytorch as smp

E = dict(encoder_name="tu-test_resnet", encoder_weights=None, classes=2)
case("smp_unet", lambda: smp.Unet(decoder_channels=(32, 16, 8, 8, 4), **E), 1, 3, 64, 64)
case("smp_unetpp", lambda: smp.UnetPlusPlus(decoder_channels=(16, 8, 8, 8, 4), **E), 1, 3, 64, 64)
case("smp_fpn", lambda: smp.FPN(decoder_pyramid_channels=16, decoder_segmentation_channels=16, **E), 1, 3, 64, 64)
case("smp_deeplab", lambda: smp.DeepLabV3Plus(decoder_channels=16, **E), 1, 3, 64, 64)
case("smp_manet", lambda: smp.MAnet(decoder_channels=(32, 16, 8, 8, 4), decoder_pab_channels=8, **E), 1, 3, 64, 64)
case("smp_segformer", lambda: smp.Segformer(decoder_segmentation_channels=16, **E), 1, 3, 64, 64)
