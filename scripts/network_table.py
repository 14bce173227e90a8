"""Exports networks of MONAI, timm, torchvision and segmentation-models-pytorch as ONNX (both exporters), TorchScript and
torch.export, and says what Ampoule does with each file. `scripts/network_table.sh` makes the environment and calls this:

    network_table.py PROGRAM WORK [--forms LIST] [NAME…]   # a line of JSON a file, in WORK/rows.jsonl, of what is not there yet
    network_table.py --page WORK COMMIT                    # docs/networks.md of those lines

PROGRAM is the example `network` of the crate ampoule-optimize. Weights are random and normalisations have statistics that are
not trivial; widths, depths and images are small where the package has a way to say so. Files are deleted once they were read.
"""
import datetime
import json
import os
import pathlib
import resource
import signal
import subprocess
import sys
import warnings

# Seconds of processor time for one file.
LONGEST = int(os.environ.get("LONGEST", "600"))
FORMS = ["onnx", "dynamo", "script", "export"]


def monai_networks():
    import monai.networks.nets as mn

    v, w = (1, 1, 32, 32, 32), (1, 1, 64, 64, 64)
    few = (8, 16, 32)
    yield "monai UNet", v, lambda: mn.UNet(3, 1, 3, (8, 16, 32), (2, 2), num_res_units=2)
    yield "monai UNet 2D, batch norm", (1, 3, 64, 64), lambda: mn.UNet(2, 3, 2, (8, 16, 32, 64), (2, 2, 2), num_res_units=1, norm="batch")
    yield "monai DynUNet", v, lambda: mn.DynUNet(3, 1, 3, [3, 3, 3], [1, 2, 2], [2, 2], filters=list(few), res_block=True)
    yield "monai DynUNet, deep supervision", w, lambda: mn.DynUNet(3, 1, 3, [3] * 4, [1, 2, 2, 2], [2] * 3, filters=[8, 16, 32, 32], deep_supervision=True, deep_supr_num=2)
    yield "monai SegResNet", v, lambda: mn.SegResNet(3, 8, 1, 3)
    yield "monai SegResNetDS", v, lambda: mn.SegResNetDS(3, 8, 1, 3, blocks_down=(1, 2, 2))
    yield "monai VNet", v, lambda: mn.VNet(3, 1, 3)
    yield "monai UNETR", w, lambda: mn.UNETR(1, 3, (64, 64, 64), feature_size=8, hidden_size=48, mlp_dim=96, num_heads=4)
    yield "monai SwinUNETR", w, lambda: mn.SwinUNETR(1, 3, feature_size=12, spatial_dims=3)
    yield "monai SwinUNETR v2, 2D", (1, 3, 64, 64), lambda: mn.SwinUNETR(3, 2, feature_size=12, spatial_dims=2, use_v2=True)
    yield "monai AttentionUnet", v, lambda: mn.AttentionUnet(3, 1, 3, few, (2, 2))
    yield "monai HighResNet", v, lambda: mn.HighResNet(3, 1, 3)
    yield "monai BasicUNet", v, lambda: mn.BasicUNet(3, 1, 3, (8, 8, 16, 16, 32, 8))
    yield "monai BasicUNet++", v, lambda: mn.BasicUNetPlusPlus(3, 1, 3, (8, 8, 16, 16, 32, 8))
    yield "monai FlexibleUNet, EfficientNet", (1, 3, 64, 64), lambda: mn.FlexibleUNet(3, 2, "efficientnet-b0")
    yield "monai DenseNet121 3D", v, lambda: mn.DenseNet121(spatial_dims=3, in_channels=1, out_channels=2, init_features=16, growth_rate=8)
    yield "monai EfficientNetBN 3D", v, lambda: mn.EfficientNetBN("efficientnet-b0", spatial_dims=3, in_channels=1, num_classes=2, pretrained=False)
    yield "monai SENet 3D", w, lambda: mn.SENet(3, 1, "se_resnet_bottleneck", [1, 1, 1, 1], 1, 16, inplanes=64, downsample_kernel_size=1, input_3x3=False, num_classes=2)
    yield "monai ResNet 3D", v, lambda: mn.ResNet("basic", [1, 1, 1, 1], [16, 16, 32, 32], n_input_channels=1, num_classes=2)
    yield "monai ViT 3D", v, lambda: mn.ViT(1, (32, 32, 32), (8, 8, 8), hidden_size=48, mlp_dim=96, num_layers=2, num_heads=4, classification=True)
    yield "monai ViTAutoEnc", (1, 1, 64, 64, 64), lambda: mn.ViTAutoEnc(1, (64, 64, 64), (16, 16, 16), hidden_size=48, mlp_dim=96, num_layers=2, num_heads=4)
    yield "monai MedNeXt", w, lambda: mn.MedNeXt(3, 8, 1, 3)
    yield "monai AutoEncoder", v, lambda: mn.AutoEncoder(3, 1, 1, few, (2, 2, 2))
    yield "monai Regressor", v, lambda: mn.Regressor((1, 32, 32, 32), (1,), few, (2, 2, 2))
    yield "monai DAF3D", w, lambda: mn.DAF3D(1, 2)
    yield "monai HoVerNet", (1, 3, 256, 256), lambda: mn.HoVerNet("fast", out_classes=3)
    yield "monai MILModel", (1, 4, 3, 64, 64), lambda: mn.MILModel(2, mil_mode="att_trans", pretrained=False, backbone="resnet18")


def timm_networks():
    import timm

    def made(name, size=64, **more):
        return f"timm {name}", (1, 3, size, size), lambda: timm.create_model(name, num_classes=10, **more)

    yield made("maxvit_rmlp_pico_rw_256", 128, img_size=128)
    yield made("maxxvit_rmlp_nano_rw_256", 128, img_size=128)
    yield made("coatnet_pico_rw_224", 96, img_size=96)
    yield made("edgenext_xx_small")
    yield made("swinv2_cr_tiny_224", 128, img_size=128, window_size=4)
    yield made("swinv2_tiny_window8_256", 128, img_size=128, window_size=4)
    yield made("cait_xxs24_224", 64, img_size=64, depth=2, depth_token_only=1)
    yield made("beit_base_patch16_224", 64, img_size=64, embed_dim=96, depth=2, num_heads=4)
    yield made("eva02_tiny_patch14_224", 56, img_size=56, depth=2)
    yield made("hiera_tiny_224", 224)
    yield made("davit_tiny", embed_dims=(24, 48, 96, 192), depths=(1, 1, 2, 1))
    yield made("focalnet_tiny_srf")
    yield made("ghostnet_100")
    yield made("ghostnetv2_100")
    yield made("mobilevit_xxs")
    yield made("mobilevitv2_050")
    yield made("repvgg_a0")
    yield made("resnest14d")
    yield made("res2net50_14w_8s")
    yield made("hrnet_w18_small")
    yield made("eca_nfnet_l0")
    yield made("efficientformer_l1", 224)
    yield made("efficientformerv2_s0", 224)
    yield made("tiny_vit_5m_224", 64, img_size=64)
    yield made("levit_128s", 224)
    yield made("crossvit_tiny_240", 240)
    yield made("volo_d1_224", 64, img_size=64)
    yield made("mixer_s32_224", 64, img_size=64)
    yield made("gmlp_ti16_224", 64, img_size=64)
    yield made("resmlp_12_224", 64, img_size=64)
    yield made("inception_next_atto")
    yield made("fastvit_t8", 64)
    yield made("mambaout_femto")
    yield made("convformer_s18", 64, depths=(1, 1, 2, 1))
    yield made("caformer_s18", 64, depths=(1, 1, 2, 1))
    yield made("poolformer_s12")
    yield made("pvt_v2_b0")
    yield made("twins_svt_small", 64, embed_dims=(24, 48, 96, 192))
    yield made("twins_pcpvt_small", 64)
    yield made("xcit_nano_12_p16_224", 64, depth=2)
    yield made("visformer_tiny", 64, img_size=64)
    yield made("nest_tiny", 64, img_size=64)
    yield made("pit_ti_224", 224)
    yield made("deit_tiny_distilled_patch16_224", 64, img_size=64, depth=2)
    yield made("vit_relpos_small_patch16_224", 64, img_size=64, depth=2)
    yield made("coat_tiny", 64, img_size=64)
    yield made("sequencer2d_s", 64, layers=(1, 1, 1, 1), embed_dims=(48, 96, 96, 96), hidden_sizes=(12, 24, 24, 24))
    yield made("cspdarknet53", 64)
    yield made("dla34")
    yield made("dpn48b")
    yield made("selecsls42b")
    yield made("skresnet18")
    yield made("vovnet39a")
    yield made("ese_vovnet19b_dw")
    yield made("rexnet_100")
    yield made("mnasnet_050")
    yield made("tinynet_e")
    yield made("lcnet_050")
    yield made("hardcorenas_a")
    yield made("starnet_s1")
    yield made("repvit_m0_9")
    yield made("repghostnet_050")
    yield made("efficientvit_b0")
    yield made("efficientvit_m0", 224)
    yield made("gcvit_xxtiny", 224)
    yield made("gcresnet33ts")
    yield made("halonet26t", 256)
    yield made("lambda_resnet26t", 64, img_size=64)
    yield made("nextvit_small", 64)
    yield made("mobilenetv4_conv_small")
    yield made("mobilenetv4_hybrid_medium", 64)
    yield made("hgnet_tiny")
    yield made("hgnetv2_b0")
    yield made("inception_resnet_v2", 96)
    yield made("inception_v4", 96)
    yield made("pnasnet5large", 96)
    yield made("xception41", 96)
    yield made("rdnet_tiny")
    yield made("swiftformer_xs")
    yield made("shvit_s1", 224)


def torchvision_networks():
    import torchvision.models as tv
    from torchvision.models import segmentation as seg, video

    plain = dict(weights=None, weights_backbone=None)
    p = (1, 3, 64, 64)
    yield "torchvision deeplabv3_resnet50", p, lambda: seg.deeplabv3_resnet50(**plain, num_classes=3)
    yield "torchvision deeplabv3_mobilenet_v3_large", p, lambda: seg.deeplabv3_mobilenet_v3_large(**plain, num_classes=3)
    yield "torchvision fcn_resnet50", p, lambda: seg.fcn_resnet50(**plain, num_classes=3, aux_loss=True)
    yield "torchvision lraspp_mobilenet_v3_large", p, lambda: seg.lraspp_mobilenet_v3_large(**plain, num_classes=3)
    yield "torchvision alexnet", (1, 3, 96, 96), lambda: tv.alexnet(num_classes=10)
    yield "torchvision squeezenet1_1", p, lambda: tv.squeezenet1_1(num_classes=10)
    yield "torchvision shufflenet_v2_x0_5", p, lambda: tv.shufflenet_v2_x0_5(num_classes=10)
    yield "torchvision mnasnet0_5", p, lambda: tv.mnasnet0_5(num_classes=10)
    yield "torchvision maxvit_t", (1, 3, 64, 64), lambda: tv.MaxVit((64, 64), 16, 2, [16, 32], [1, 1], 16, 0.0, num_classes=10)
    yield "torchvision swin_v2_t", p, lambda: tv.swin_v2_t(num_classes=10)
    yield "torchvision r3d_18", (1, 3, 8, 48, 48), lambda: video.r3d_18(num_classes=4)
    yield "torchvision mvit_v2_s", (1, 3, 16, 224, 224), lambda: video.mvit_v2_s(num_classes=4)


def smp_networks():
    import segmentation_models_pytorch as smp

    p, e = (1, 3, 64, 64), dict(encoder_weights=None, classes=2)
    yield "smp Unet, resnet34, scSE", p, lambda: smp.Unet("resnet34", decoder_attention_type="scse", **e)
    yield "smp Unet, tu-convnext_atto", p, lambda: smp.Unet("tu-convnext_atto", encoder_depth=4, decoder_channels=(64, 32, 16, 8), **e)
    yield "smp UnetPlusPlus, timm-regnetx_002", p, lambda: smp.UnetPlusPlus("timm-regnetx_002", **e)
    yield "smp Linknet, mobilenet_v2", p, lambda: smp.Linknet("mobilenet_v2", **e)
    yield "smp PSPNet, resnet18", p, lambda: smp.PSPNet("resnet18", **e)
    yield "smp PAN, resnet18", (1, 3, 128, 128), lambda: smp.PAN("resnet18", **e)
    yield "smp MAnet, mit_b0", p, lambda: smp.MAnet("mit_b0", **e)
    yield "smp UPerNet, tu-swin_tiny", (1, 3, 224, 224), lambda: smp.UPerNet("tu-swin_tiny_patch4_window7_224", **e)
    yield "smp Segformer, mit_b0", p, lambda: smp.Segformer("mit_b0", **e)
    yield "smp DPT, tu-vit_tiny", (1, 3, 224, 224), lambda: smp.DPT("tu-vit_tiny_patch16_224", dynamic_img_size=False, **e)


def networks():
    for family in (monai_networks, timm_networks, torchvision_networks, smp_networks):
        yield from family()


def prepared(make):
    """The network with random weights, and statistics that matter."""
    import torch

    torch.manual_seed(1)
    network = make().eval()
    g = torch.Generator().manual_seed(7)
    for name, p in network.named_parameters():
        if p.ndim <= 1 or p.detach().std() == 0:
            p.data = p.detach() + 0.1 * torch.randn(p.shape, generator=g)
    for name, b in network.named_buffers():
        if name.endswith("running_mean"):
            b.copy_(0.1 * torch.randn(b.shape, generator=g))
        if name.endswith("running_var"):
            b.copy_(0.75 + 0.5 * torch.rand(b.shape, generator=g))
    return network


def listed(y):
    """All tensors of a result in the order in which exporters write them."""
    import torch

    if torch.is_tensor(y):
        return [y]
    return [t for part in (y.values() if isinstance(y, dict) else y) for t in listed(part)]


def export(form, network, x, path):
    import torch

    if form == "onnx":
        torch.onnx.export(network, x, path, opset_version=18, dynamo=False)
    elif form == "dynamo":
        torch.onnx.export(network, (x,), path, dynamo=True, external_data=False, verbose=False)
    elif form == "script":
        torch.jit.save(torch.jit.trace(network, x, check_trace=False, strict=False), path)
    else:
        torch.export.save(torch.export.export(network, (x,)), path)


def row(program, form, network, x, work):
    """What Ampoule does with one form of a network."""
    path = work / ("network." + {"script": "ts", "export": "pt2"}.get(form, "onnx"))
    try:
        export(form, network, x, path)
    except Exception as e:
        return {"export": f"{type(e).__name__}: {str(e).strip().splitlines()[0] if str(e).strip() else ''}"[:160]}
    spent = lambda: sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2])
    start, said, why = spent(), "", None
    try:
        # Processor time, not the clock's: others may be busy, or hold this process up.
        limit = lambda: resource.setrlimit(resource.RLIMIT_CPU, (LONGEST, LONGEST + 5))
        done = subprocess.run([program, path, work / "arrays.npz"], capture_output=True, text=True, preexec_fn=limit, timeout=20 * LONGEST)
        said = done.stdout
        if done.returncode not in (0, -signal.SIGXCPU, -signal.SIGKILL):
            why = next((line for line in done.stderr.splitlines() if "panicked" in line or "rror" in line), "no message")
    except subprocess.TimeoutExpired as e:
        said = (e.stdout or b"").decode()
    finally:
        path.unlink(missing_ok=True)
    lines = said.splitlines()
    found = json.loads(lines[-1]) if lines else {}
    if why and not found:
        return {"crashed": why}
    # The part that failed, and those after it; what time ran out for is left open.
    missing = [k for k in ("run", "int8", "pruned", "step") if k not in found and "failed" not in found.get("loads", {})]
    found.update({k: {"failed": why} for k in missing if why})
    return {**found, "seconds": round(spent() - start, 1)}


def measure(program, work, forms, names):
    import numpy as np
    import torch

    warnings.filterwarnings("ignore")
    torch.set_num_threads(2)
    work.mkdir(parents=True, exist_ok=True)
    (work / "networks.json").write_text(json.dumps([n[0] for n in networks()]))
    lines = work / "rows.jsonl"
    known = {(r["network"], r["form"]) for r in map(json.loads, open(lines))} if lines.exists() else set()
    for name, shape, make in networks():
        asked = [f for f in forms if names or (name, f) not in known]
        if not asked or (names and not any(n in name for n in names)):
            continue
        try:
            network = prepared(make)
            x = torch.randn(*shape)
            with torch.no_grad():
                ys = listed(network(x))
        except Exception as e:
            print(f"{name}: cannot be made: {type(e).__name__}: {str(e)[:200]}", flush=True)
            continue
        np.savez(work / "arrays.npz", x0=x.numpy(), **{f"y{i}": y.detach().float().numpy() for i, y in enumerate(ys)})
        for form in asked:
            with torch.no_grad():
                found = {"network": name, "input": "×".join(map(str, shape)), "form": form, **row(program, form, network, x, work)}
            with open(lines, "a") as out:
                out.write(json.dumps(found) + "\n")
            print(json.dumps(found), flush=True)


def cells(r):
    """What a row of the page says of a file."""
    if "export" in r:
        return [f"not exported: {r['export']}"] + [""] * 5
    if "crashed" in r:
        return [f"**failed**: {r['crashed']}"] + [""] * 5
    if "failed" in r.get("loads", {}):
        return [f"refused: {r['loads']['failed']}"] + [""] * 5

    def said(key, text):
        part = r.get(key)
        return "—" if part is None else f"refused: {part['failed']}" if "failed" in part else text(part)

    reference = r.get("run", {}).get("reference", [])
    return [
        "—" if "loads" not in r else "yes, free sizes" if r["loads"]["free"] else "yes",
        said("run", lambda p: f"{p['error']:.0e}" if isinstance(p["error"], float) else p["error"]),
        said("run", lambda p: ", ".join(f"{reference.count(k)} {k}" for k in sorted(set(reference))) or "0"),
        said("int8", lambda p: f"{p['layers']} layers, {p['distance']:.2f}"),
        said("pruned", lambda p: f"{100 * p['parameters']:.0f} %"),
        said("step", lambda p: "yes" if p["after"] < p["before"] else "the loss does not become less"),
    ]


def page(work, commit):
    """The page: a table of all networks and forms, and counts."""
    rows = {}
    for line in open(work / "rows.jsonl"):
        r = json.loads(line)
        rows[r["network"], r["form"]] = r
    names = list(dict.fromkeys(n for n, _ in rows))
    listed = work / "networks.json"
    missing = [n for n in json.loads(listed.read_text()) if n not in names] if listed.exists() else []
    forms = [f for f in FORMS if any(form == f for _, form in rows)]
    print("# Networks of other packages\n")
    print(f"Written by `scripts/network_table.sh` on {datetime.date.today()}, of commit {commit}: {len(names)} networks, {len(rows)} files.")
    print(
        "Forms: `onnx` and `dynamo` are the two exporters of `torch.onnx.export`, `script` is TorchScript by tracing, `export` is `torch.export`.\n"
        "\"Free sizes\": the file also opens where no size of its input is told. The error is the largest difference of any output from PyTorch on a random input, as a share of the largest\n"
        "value. Reference: steps on the plain kernel. INT8: layers, and the relative L2 distance from float32 on the input that calibrated it. Pruned: parameters that are left\n"
        "where half of the channels go at once. Training: whether a step along the gradient makes the mean square of the outputs less. Weights are random: the last\n"
        "three columns say whether it works, not how well. — was not reached within the processor time that a file is given. Rows are kept between runs, so that some may be of an earlier\n"
        "commit. A form that a network has no row for has not been measured.\n"
    )
    if missing:
        print(f"Networks of the script that have not been measured in any form ({len(missing)}): {', '.join(missing)}.\n")
    print("| form | files | open | error up to 1e-4 | no reference step | INT8 | pruned | training |")
    print("|---|---|---|---|---|---|---|---|")
    for form in forms:
        made = [r for (_, f), r in rows.items() if f == form and "export" not in r]
        run = [r for r in made if "run" in r and "failed" not in r["run"]]
        of = lambda key: sum("failed" not in r.get(key, {"failed": 1}) for r in made)
        near = sum(isinstance(r["run"]["error"], float) and r["run"]["error"] <= 1e-4 for r in run)
        fast = sum(not r["run"]["reference"] for r in run)
        less = sum(r["step"]["after"] < r["step"]["before"] for r in made if "after" in r.get("step", {}))
        print(f"| {form} | {len(made)} | {of('loads')} | {near} | {fast} | {of('int8')} | {of('pruned')} | {less} |")
    print("\n| network | input | form | opens | error | reference | INT8 | pruned | training |")
    print("|---|---|---|---|---|---|---|---|---|")
    for name in names:
        for form in forms:
            r = rows.get((name, form))
            if r:
                text = " | ".join(c.replace("|", "/").replace("\n", " ") for c in cells(r))
                print(f"| {name} | {r['input']} | {form} | {text} |")


def main():
    program, work, *rest = sys.argv[1:]
    if program == "--page":
        return page(pathlib.Path(work), rest[0])
    forms = FORMS
    if rest[:1] == ["--forms"]:
        forms, rest = rest[1].split(","), rest[2:]
    measure(program, pathlib.Path(work), forms, rest)


if __name__ == "__main__":
    main()
