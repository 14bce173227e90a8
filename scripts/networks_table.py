"""Writes docs/networks.md: networks of other packages, and what Ampoule does with each.

    .venv-frameworks/bin/pip install timm==1.0.22 segmentation-models-pytorch==0.5.0 pillow     # beside scripts/golden_frameworks.py's
    .venv-frameworks/bin/python scripts/networks_table.py AMPOULE WORK [--page docs/networks.md] [NAME…]

AMPOULE is the program; WORK keeps a line of JSON for each network that is done (networks.jsonl), so that it can be stopped and
goes on. A network is made with random weights and disturbed statistics, exported as TorchScript, imported, run on one image or
volume and compared with what PyTorch computes of it, then made INT8, pruned and trained for a step; its files are deleted. It
needs to be smaller than it is trained at: images of 64 by 64, volumes of 32 along each axis.
"""
import csv
import json
import pathlib
import shutil
import subprocess
import sys
import time
import warnings

import numpy as np
import torch

warnings.filterwarnings("ignore")
torch.set_num_threads(1)
LIMIT = 900
CLASSES = 3


def tv(name, **more):
    import torchvision

    return lambda: torchvision.models.get_model(name, weights=None, num_classes=CLASSES, **more)


def ti(name, **more):
    import timm

    return lambda: timm.create_model(name, pretrained=False, num_classes=CLASSES, **more)


def smp(decoder, encoder):
    import segmentation_models_pytorch as package

    return lambda: getattr(package, decoder)(encoder, encoder_weights=None, classes=CLASSES)


def monai(name, *args, **more):
    import monai.networks.nets as nets

    return lambda: getattr(nets, name)(*args, **more)


def nnunet(name, axes, **more):
    from dynamic_network_architectures.architectures import unet

    conv, norm = (torch.nn.Conv3d, torch.nn.InstanceNorm3d) if axes == 3 else (torch.nn.Conv2d, torch.nn.InstanceNorm2d)
    usual = dict(conv_op=conv, conv_bias=True, norm_op=norm, norm_op_kwargs={"eps": 1e-5, "affine": True}, nonlin=torch.nn.LeakyReLU,
                 nonlin_kwargs={"inplace": True}, deep_supervision=False)
    return lambda: getattr(unet, name)(**{**usual, **more})


# Name: how it is made, channels, axes, side, whether it gives a score for each position.
def photo(make, side=64):
    return make, 3, 2, side, False


def mask(make, side=64):
    return make, 3, 2, side, True


def volume(make, channels=1, side=32, dense=True):
    return make, channels, 3, side, dense


NETWORKS = {f"torchvision {n}": photo(tv(n)) for n in (
    "resnet18", "resnet50", "resnext50_32x4d", "wide_resnet50_2", "densenet121", "efficientnet_b0", "efficientnet_v2_s", "mobilenet_v2",
    "mobilenet_v3_large", "mobilenet_v3_small", "convnext_tiny", "regnet_x_400mf", "regnet_y_400mf", "shufflenet_v2_x1_0", "squeezenet1_1",
    "mnasnet1_0")}
NETWORKS["torchvision googlenet"] = photo(tv("googlenet", aux_logits=False, init_weights=False))
NETWORKS["torchvision inception_v3"] = photo(tv("inception_v3", aux_logits=False, init_weights=False), 96)
NETWORKS["torchvision vit_b_32"] = photo(tv("vit_b_32", image_size=64))
NETWORKS["torchvision swin_t"] = photo(tv("swin_t"), 64)
NETWORKS |= {f"timm {n}": photo(ti(n)) for n in (
    "resnet26d", "seresnext26d_32x4d", "resnetv2_50", "res2net50_26w_4s", "efficientnet_b0", "tf_efficientnetv2_b0", "efficientnet_lite0",
    "mobilenetv3_large_100", "mobilenetv4_conv_small", "mobileone_s0", "convnext_atto", "convnextv2_atto", "regnety_002", "regnetx_002",
    "ghostnetv2_100", "hardcorenas_a", "dla34", "dpn48b", "hrnet_w18_small", "repvgg_a0", "rexnet_100", "efficientvit_b0", "edgenext_xx_small",
    "nf_resnet50", "xception41", "poolformer_s12")}
NETWORKS |= {f"timm {n}": photo(ti(n, img_size=64)) for n in ("vit_tiny_patch16_224", "deit_tiny_distilled_patch16_224", "mixer_s32_224")}
NETWORKS |= {f"smp {d} {e}": mask(smp(d, e)) for d, e in (
    ("Unet", "resnet18"), ("Unet", "efficientnet-b0"), ("UnetPlusPlus", "resnet18"), ("FPN", "resnet18"), ("DeepLabV3Plus", "mobilenet_v2"),
    ("MAnet", "resnet18"), ("Segformer", "mit_b0"), ("Linknet", "resnet18"), ("PSPNet", "resnet18"), ("UPerNet", "resnet18"))}
NETWORKS |= {
    "MONAI UNet": volume(monai("UNet", 3, 1, CLASSES, (8, 16, 32), (2, 2), num_res_units=2)),
    "MONAI BasicUNet": volume(monai("BasicUNet", 3, 1, CLASSES, (8, 8, 16, 16, 32, 8))),
    "MONAI SegResNet": volume(monai("SegResNet", 3, 8, 1, CLASSES)),
    "MONAI DynUNet": volume(monai("DynUNet", 3, 1, CLASSES, [3, 3, 3], [1, 2, 2], [2, 2], [8, 16, 32])),
    "MONAI AttentionUnet": volume(monai("AttentionUnet", 3, 1, CLASSES, (8, 16, 32), (2, 2))),
    "MONAI VNet": volume(monai("VNet", 3, 1, CLASSES)),
    "MONAI UNETR": volume(monai("UNETR", 1, CLASSES, (32, 32, 32), 8, 96, 192, 4)),
    "MONAI SwinUNETR": volume(monai("SwinUNETR", 1, CLASSES, feature_size=12), side=64),
    "MONAI HighResNet": volume(monai("HighResNet", 3, 1, CLASSES)),
    "MONAI DenseNet121": volume(monai("DenseNet121", 3, 1, CLASSES), dense=False),
    "nnU-Net PlainConvUNet": volume(nnunet("PlainConvUNet", 3, input_channels=1, n_stages=3, features_per_stage=[8, 16, 32], kernel_sizes=3,
                                           strides=[1, 2, 2], n_conv_per_stage=2, num_classes=CLASSES, n_conv_per_stage_decoder=2)),
    "nnU-Net ResidualEncoderUNet": volume(nnunet("ResidualEncoderUNet", 3, input_channels=1, n_stages=3, features_per_stage=[8, 16, 32], kernel_sizes=3,
                                                 strides=[1, 2, 2], n_blocks_per_stage=[1, 2, 2], num_classes=CLASSES, n_conv_per_stage_decoder=1)),
}


def disturbed(net):
    g = torch.Generator().manual_seed(5)
    for name, b in net.named_buffers():
        if name.endswith("running_mean"):
            b.copy_((torch.rand(b.shape, generator=g) - 0.5) * 0.2)
        if name.endswith("running_var"):
            b.copy_(0.75 + torch.rand(b.shape, generator=g) / 2)
    return net.eval()


def recipe(name, channels, axes, side, dense):
    kind = "image" if axes == 2 else "volume"
    text = f'version = 2\n[model]\nname = "{name}"\ntask = "{"segmentation" if dense else "classification"}"\n'
    text += f'[[input]]\nname = "image"\nkind = "{kind}"\n[[preprocess]]\nstep = "divide"\nby = 255.0\n'
    text += '[[network]]\nactivation = "softmax"\n'
    if dense:
        text += f"window = {{ size = {[side] * axes}, overlap = 0.0 }}\n"
    return text + "".join(f'[[label]]\nname = "class {i}"\n' for i in range(CLASSES))


def cases(folder, channels, axes, side, count):
    """Images or volumes, and the first as the network sees it."""
    folder.mkdir()
    rng = np.random.default_rng(3)
    first = None
    for k in range(count):
        shape = (side, side, 3) if axes == 2 else (side,) * 3
        v = rng.integers(0, 256, shape).astype(np.uint8)
        if axes == 2:
            from PIL import Image

            Image.fromarray(v).save(folder / f"case{k}.png")
            x = v.transpose(2, 0, 1)
        else:
            import nibabel

            # x slowest in the file's array; the network's axes are z, y, x.
            nibabel.save(nibabel.Nifti1Image(v, np.eye(4)), folder / f"case{k}.nii.gz")
            x = v.transpose(2, 1, 0)[None]
        first = x if first is None else first
    return torch.from_numpy(first.astype(np.float32) / 255)[None]


def call(*args):
    done = subprocess.run([str(a) for a in args], capture_output=True, text=True, timeout=LIMIT)
    if done.returncode not in (0, 4):
        said = [l for l in (done.stderr or done.stdout).splitlines() if l.strip()]
        raise RuntimeError(said[-1] if said else f"exit code {done.returncode}")
    return done.stdout


def parity(ampoule, model, toml, folder, out, want, dense):
    """The largest difference of a probability."""
    call(ampoule, "run", model, folder, "-o", out, "--recipe", toml, "--overwrite", "--quiet", *(["--save-probabilities"] if dense else []))
    if not dense:
        rows = list(csv.DictReader(open(out / "cases.csv")))
        own = np.array([float(next(v for k, v in rows[0].items() if k and k.endswith(f"class {i}"))) for i in range(CLASSES)])
        return float(abs(own - want.ravel()).max())
    worst = 0.0
    files = sorted(f for f in out.iterdir() if "_prob" in f.name)
    if not files:
        raise RuntimeError("no probabilities were written")
    for i, f in enumerate(files):
        if f.suffix == ".png":
            from PIL import Image

            own = np.asarray(Image.open(f)).astype(float) / 255
        else:
            import nibabel

            own = np.asarray(nibabel.load(f).dataobj).transpose(2, 1, 0)
        # Files of all labels, or of all but the background; the nearest one is it.
        worst = max(worst, min(float(abs(own - w).max()) for w in want))
    return worst


def one(ampoule, name, spec, work):
    make, channels, axes, side, dense = spec
    row = {"network": name}
    here = work / "one"
    shutil.rmtree(here, ignore_errors=True)
    here.mkdir()
    torch.manual_seed(1)
    net = disturbed(make())
    x = cases(here / "images", channels, axes, side, 4)
    (here / "first").mkdir()
    first = sorted((here / "images").iterdir())[0]
    shutil.copy(first, here / "first")
    with torch.no_grad():
        want = net(x)
        torch.jit.trace(net, x, check_trace=False).save(str(here / "net.pt"))
    want = torch.softmax(want, 1)[0].numpy()
    row["parameters"] = sum(p.numel() for p in net.parameters())
    (here / "r.toml").write_text(recipe(name, channels, axes, side, dense))
    onnx, toml = here / "net.onnx", here / "r.toml"
    shape = "x".join(map(str, x.shape))
    try:
        call(ampoule, "import", here / "net.pt", "--input-shape", shape, "--recipe", toml, "-o", onnx)
        row["loads"] = True
        row["parity"] = parity(ampoule, onnx, toml, here / "first", here / "out", want, dense)
        lines = [json.loads(l) for l in call(ampoule, "bench", onnx, "--threads", 1, "--seconds", 0.01, "--json", "--quiet").splitlines() if l.startswith("{")]
        profile = [k for l in lines for k in l.get("profile", [])]
        row["reference"] = sum(k["steps"] for k in profile if k["kernel"] == "reference")
    except Exception as e:
        row["failed"] = str(e)[:400]
    steps = {"int8": ["--calibrate", here / "images"],
             "pruned": ["--precision", "fp32", "--prune", 0.25, "--calibrate", here / "images"],
             "trained": ["--precision", "fp32", "--finetune", here / "images", "--epochs", 1, "--steps", 1, "--batch", 1]}
    for key, more in steps.items():
        if "failed" in row:
            break
        try:
            call(ampoule, "optimize", onnx, "--recipe", toml, "-o", here / f"{key}.onnx", "--quiet", *more)
            row[key] = True
        except Exception as e:
            row[key] = str(e)[:400]
    shutil.rmtree(here)
    return row


def page(rows, program):
    said = lambda v: "yes" if v is True else "—" if v is None else "no"
    lines = ["# Networks of other packages\n",
             f"Written by `scripts/networks_table.py`: {len(rows)} of {len(NETWORKS)} networks that it knows, with random weights, by {program}. *Parity* is the largest difference of a",
             "probability from PyTorch's (masks of images are written in steps of 1/255); *reference* counts steps on the reference kernel.\n",
             "| network | million weights | parity | reference | INT8 | pruned | training step |", "|---|---|---|---|---|---|---|"]
    reasons = []
    for r in rows:
        parity = f"{r['parity']:.0e}" if "parity" in r else "does not load" if not r.get("loads") else "fails"
        lines.append(f"| {r['network']} | {r['parameters'] / 1e6:.1f} | {parity} | {r.get('reference', '—')} | {said(r.get('int8'))} | {said(r.get('pruned'))} | {said(r.get('trained'))} |")
        for key in ("failed", "int8", "pruned", "trained"):
            if isinstance(r.get(key), str):
                reasons.append(f"- {r['network']}, {'runs' if key == 'failed' else key}: {r[key]}")
    if reasons:
        lines += ["\n## What does not work\n"] + reasons
    return "\n".join(lines) + "\n"


def main():
    ampoule, work, rest = sys.argv[1], pathlib.Path(sys.argv[2]), sys.argv[3:]
    out = None
    if "--page" in rest:
        at = rest.index("--page")
        out, rest = pathlib.Path(rest[at + 1]), rest[:at] + rest[at + 2:]
    work.mkdir(parents=True, exist_ok=True)
    kept = work / "networks.jsonl"
    done = {}
    if kept.exists():
        done = {r["network"]: r for r in map(json.loads, kept.read_text().splitlines())}
    for name, spec in NETWORKS.items():
        if name in done or rest and not any(r in name for r in rest):
            continue
        start = time.time()
        try:
            row = one(ampoule, name, spec, work)
        except Exception as e:
            # A network that PyTorch cannot make or export at this size says nothing of the program.
            print(f"{name}: not made: {e}", flush=True)
            continue
        done[name] = row
        with open(kept, "a") as f:
            f.write(json.dumps(row) + "\n")
        print(f"{name}: {row} ({time.time() - start:.0f} s)", flush=True)
    if out:
        version = subprocess.run([ampoule, "--version"], capture_output=True, text=True).stdout.strip()
        out.write_text(page([done[n] for n in NETWORKS if n in done], version))


if __name__ == "__main__":
    main()
