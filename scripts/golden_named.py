"""What torchvision, timm, segmentation-models-pytorch, MONAI and SynthStrip compute with weights that both sides make by one rule, for
crates/zoo/tests/golden/named.

    python3.11 -m venv .venv-named
    .venv-named/bin/pip install torch==2.15.0 torchvision timm==1.0.22 segmentation-models-pytorch==0.5.0
    .venv-named/bin/pip install --no-deps nipreps-synthstrip==0.0.1
    .venv-named/bin/pip install monai==1.6.1 einops
    .venv-named/bin/python scripts/golden_named.py crates/zoo/tests/golden/named [NAME…]

A weight is a hash of its name and its place (`rule`; crates/zoo/tests/named.rs has the same), so that networks of any size
need only the names and shapes of their tensors here. Networks of the packages' own names are whole; of transformers, whose
sizes the weights tell, small ones. Every output must depend on its input and hardly on
rounding: what changes with half of the input, and with float64, is printed.
"""
import json
import pathlib
import sys
import zipfile

import numpy as np
import torch

OUT = pathlib.Path(sys.argv[1])
ONLY = sys.argv[2:]
OUT.mkdir(parents=True, exist_ok=True)
torch.set_num_threads(1)
torch.set_grad_enabled(False)
# Most values of an output that are kept.
KEPT = 256


def hashed(name, count):
    """Numbers in [-0.5, 0.5) by name and place."""
    seed = 0x811C9DC5
    for byte in name.encode():
        seed = ((seed ^ byte) * 0x01000193) & 0xFFFFFFFF
    with np.errstate(over="ignore"):
        h = np.arange(count, dtype=np.uint32) * np.uint32(0x9E3779B1) + np.uint32(seed)
        for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
            h = (h ^ (h >> np.uint32(shift))) * np.uint32(factor)
        h ^= h >> np.uint32(16)
    return (h >> np.uint32(8)).astype(np.float32) / np.float32(1 << 24) - np.float32(0.5)


def rule(name, shape, deep):
    """(scale, shift) of the numbers of a tensor."""
    if name == "input":
        return 2.0, 0.0
    if name.endswith("running_mean"):
        return 0.4, 0.0
    if name.endswith("running_var"):
        return 1.0, 1.0
    if "token" in name or "pos_embed" in name or "bias_table" in name:
        return 1.0, 0.0
    if "gamma" in name or "layer_scale" in name:
        return 0.5, 0.5
    if len(shape) < 2:
        return (0.5, 1.0) if name.endswith("weight") else (0.2, 0.0)
    # Depthwise kernels, whose products are few, are larger, so that what they pass on does not fade.
    gain = deep if len(shape) == 4 and shape[1] == 1 else 1.4
    return 2.0 * gain * (3.0 / np.prod(shape[1:])) ** 0.5, 0.0


def made(name, shape, deep=2.0):
    scale, shift = rule(name, shape, deep)
    values = hashed(name, int(np.prod(shape))) * np.float32(scale) + np.float32(shift)
    return torch.from_numpy(values.reshape(shape))


def fill(net, deep):
    shapes = {}
    for name, t in net.state_dict().items():
        if t.is_floating_point() and not name.endswith("attn_mask"):
            shapes[name] = list(t.shape)
            t.copy_(made(name, t.shape, deep))
    return shapes


def tv(name, **more):
    import torchvision

    return lambda: torchvision.models.get_model(name, weights=None, num_classes=5, **more)


def ti(name, **more):
    import timm

    return lambda: timm.create_model(name, pretrained=False, num_classes=5, **more)


def smp(decoder, encoder, **more):
    def make():
        import segmentation_models_pytorch as package

        return getattr(package, decoder)(encoder, encoder_weights=None, classes=3, **more)

    return make


def tv_vgg():
    import torchvision

    net = torchvision.models.vgg11_bn(weights=None, num_classes=5)
    net.classifier[0] = torch.nn.Linear(25088, 16)
    net.classifier[3] = torch.nn.Linear(16, 16)
    net.classifier[6] = torch.nn.Linear(16, 5)
    return net


def tv_vit():
    from torchvision.models import VisionTransformer

    net = VisionTransformer(image_size=64, patch_size=16, num_layers=2, num_heads=3, hidden_dim=192, mlp_dim=256, num_classes=5)
    return net


def tv_swin():
    from torchvision.models import SwinTransformer

    return SwinTransformer(patch_size=[4, 4], embed_dim=24, depths=[2, 2, 2, 2], num_heads=[1, 2, 4, 8], window_size=[7, 7], num_classes=5)


def synthstrip():
    from nipreps.synthstrip.model import StripModel

    return StripModel(nb_features=8, nb_levels=4, max_features=16)


def small(name, **more):
    """A transformer of timm in a small size, heads as wide as usual."""
    return ti(name, depth=2, embed_dim=128, num_heads=2, img_size=64, **more)


# name: architecture, network, side of the image
CASES = {
    "tv_resnet18": ("resnet18", tv("resnet18"), 64),
    "tv_resnext50": ("resnext50_32x4d", tv("resnext50_32x4d"), 64),
    "tv_densenet121": ("densenet121", tv("densenet121"), 64),
    "tv_vgg11_bn": ("vgg11_bn", tv_vgg, 224),
    "tv_efficientnet_b0": ("efficientnet_b0", tv("efficientnet_b0"), 64),
    "tv_efficientnet_b5": ("efficientnet_b5", tv("efficientnet_b5"), 64),
    "tv_efficientnet_v2_s": ("efficientnet_v2_s", tv("efficientnet_v2_s"), 64),
    "tv_mobilenet_v2": ("mobilenet_v2", tv("mobilenet_v2"), 64),
    "tv_mobilenet_v3_large": ("mobilenet_v3_large", tv("mobilenet_v3_large"), 64),
    "tv_mobilenet_v3_small": ("mobilenet_v3_small", tv("mobilenet_v3_small"), 64),
    "tv_convnext_tiny": ("convnext_tiny", tv("convnext_tiny"), 64),
    "tv_regnet_x": ("regnet_x_400mf", tv("regnet_x_400mf"), 64),
    "tv_regnet_y": ("regnet_y_400mf", tv("regnet_y_400mf"), 64),
    "tv_inception_v3": ("inception_v3", tv("inception_v3", aux_logits=True, init_weights=False), 107),
    "tv_googlenet": ("googlenet", tv("googlenet", aux_logits=False, init_weights=False), 65),
    "tv_vit": ("vit_b_16", tv_vit, 64),
    "tv_swin": ("swin_t", tv_swin, 224),
    "timm_resnet50": ("resnet50", ti("resnet50"), 65),
    "timm_resnet26d": ("resnet26d", ti("resnet26d"), 65),
    "timm_seresnext": ("seresnext26d_32x4d", ti("seresnext26d_32x4d"), 64),
    "timm_efficientnet_b0": ("efficientnet_b0", ti("efficientnet_b0"), 64),
    "timm_tf_efficientnet_b0": ("tf_efficientnet_b0", ti("tf_efficientnet_b0"), 67),
    "timm_tf_efficientnetv2": ("tf_efficientnetv2_b0", ti("tf_efficientnetv2_b0"), 64),
    "timm_efficientnet_lite0": ("efficientnet_lite0", ti("efficientnet_lite0"), 64),
    "timm_mobilenetv2": ("mobilenetv2_100", ti("mobilenetv2_100"), 64),
    "timm_mobilenetv3": ("mobilenetv3_large_100", ti("mobilenetv3_large_100"), 64),
    "timm_tf_mobilenetv3": ("tf_mobilenetv3_small_100", ti("tf_mobilenetv3_small_100"), 65),
    "timm_convnext": ("convnext_atto", ti("convnext_atto"), 64),
    "timm_convnextv2": ("convnextv2_atto", ti("convnextv2_atto"), 64),
    "timm_regnetx": ("regnetx_002", ti("regnetx_002"), 64),
    "timm_regnety": ("regnety_002", ti("regnety_002"), 64),
    "timm_vit": ("vit_small_patch16_224", small("vit_small_patch16_224"), 64),
    "timm_deit_distilled": ("deit_small_distilled_patch16_224", small("deit_small_distilled_patch16_224"), 64),
    "timm_deit3": ("deit3_small_patch16_224", small("deit3_small_patch16_224"), 64),
    "timm_swin": ("swin_tiny_patch4_window7_224", ti("swin_tiny_patch4_window7_224", embed_dim=24, depths=(2, 2, 2, 2), num_heads=(1, 2, 4, 8)), 224),
    "timm_xception": ("legacy_xception", ti("legacy_xception"), 71),
    "smp_unet_resnet18": ("unet-resnet18", smp("Unet", "resnet18"), 64),
    "smp_unet_scse": ("unet-resnet18", smp("Unet", "resnet18", encoder_depth=4, decoder_channels=(64, 32, 16, 16), decoder_attention_type="scse"), 64),
    "smp_unet_efficientnet_b0": ("unet-efficientnet-b0", smp("Unet", "efficientnet-b0"), 96),
    "smp_unet_efficientnet_b1": ("unet-efficientnet-b1", smp("Unet", "efficientnet-b1"), 64),
    "smp_unet_timm_efficientnet": ("unet-timm-efficientnet-b0", smp("Unet", "timm-efficientnet-b0"), 64),
    "smp_unet_mobilenet": ("unet-mobilenet_v2", smp("Unet", "mobilenet_v2"), 64),
    "smp_unet_densenet": ("unet-densenet121", smp("Unet", "densenet121"), 64),
    "smp_unet_vgg": ("unet-vgg11_bn", smp("Unet", "vgg11_bn"), 64),
    "smp_unet_mit": ("unet-mit_b0", smp("Unet", "mit_b0"), 64),
    "smp_unetplusplus": ("unetplusplus-resnet18", smp("UnetPlusPlus", "resnet18"), 64),
    "smp_fpn": ("fpn-resnet18", smp("FPN", "resnet18"), 64),
    "smp_deeplab": ("deeplabv3plus-resnet18", smp("DeepLabV3Plus", "resnet18"), 64),
    "smp_deeplab_efficientnet": ("deeplabv3plus-efficientnet-b0", smp("DeepLabV3Plus", "efficientnet-b0"), 64),
    "smp_deeplab_mobilenet": ("deeplabv3plus-mobilenet_v2", smp("DeepLabV3Plus", "mobilenet_v2"), 64),
    "smp_manet": ("manet-resnet18", smp("MAnet", "resnet18"), 64),
    "smp_segformer_mit": ("segformer-mit_b0", smp("Segformer", "mit_b0"), 64),
    "smp_segformer_resnet": ("segformer-resnet18", smp("Segformer", "resnet18"), 64),
    "other_synthstrip": ("synthstrip", synthstrip, 24),
}

# name: a bundle's network_def, sizes of the input; _monai_ is the version that the bundle is for
DEFINED = {
    "monai_attention_unet": (dict(_target_="AttentionUnet", spatial_dims=3, in_channels=2, out_channels=3, channels=[4, 8, 16], strides=[2, 2]), [16, 16, 16]),
    "monai_attention_unet_2d": (
        dict(_target_="AttentionUnet", spatial_dims=2, in_channels=1, out_channels=2, channels=[8, 16, 32, 48], strides=[2, 2, 2], kernel_size=5, up_kernel_size=3), [32, 24]),
    "monai_vnet": (dict(_target_="VNet", spatial_dims=2, in_channels=1, out_channels=2), [32, 32]),
    "monai_vnet_prelu": (dict(_target_="VNet", spatial_dims=2, in_channels=1, out_channels=3, act="prelu", bias=True), [32, 16]),
    "monai_highresnet": (dict(_target_="HighResNet", in_channels=1, out_channels=3), [12, 10, 9]),
    "monai_highresnet_project": (
        dict(_target_="HighResNet", spatial_dims=2, in_channels=3, out_channels=2, bias=True, channel_matching="project", layer_params=[
            dict(name="conv_0", n_features=6, kernel_size=3), dict(name="res_1", n_features=9, kernels=[3, 5], repeat=2),
            dict(name="conv_1", n_features=8, kernel_size=1), dict(name="conv_2", kernel_size=1)]), [17, 20]),
    "monai_segresnet_ds": (dict(_target_="SegResNetDS", init_filters=8, in_channels=1, out_channels=2, blocks_down=[1, 2, 1]), [16, 16, 16]),
    "monai_segresnet_ds_thick": (
        dict(_target_="SegResNetDS", init_filters=4, in_channels=2, out_channels=3, blocks_down=[1, 1, 2, 1], blocks_up=[1, 2, 1], norm="instance",
             act=["leakyrelu", dict(negative_slope=0.1)], dsdepth=3, resolution=[1, 1, 3]), [32, 24, 8]),
    "monai_unetr": (
        dict(_target_="UNETR", in_channels=2, out_channels=3, img_size=[32, 16, 32], feature_size=4, hidden_size=48, mlp_dim=64, num_heads=4), [32, 16, 32]),
    "monai_unetr_2d": (
        dict(_target_="UNETR", spatial_dims=2, in_channels=1, out_channels=2, img_size=32, feature_size=4, hidden_size=32, mlp_dim=40, num_heads=2, proj_type="perceptron",
             norm_name="batch", conv_block=False, res_block=False, qkv_bias=True), [32, 32]),
    "monai_swin_unetr_old": (dict(_target_="SwinUNETR", _monai_="1.4.0", in_channels=1, out_channels=3, feature_size=12), [64, 32, 32]),
    "monai_swin_unetr": (
        dict(_target_="SwinUNETR", _monai_="1.5.0", in_channels=2, out_channels=2, feature_size=12, depths=[1, 2, 2, 1], num_heads=[2, 3, 4, 6], use_v2=True, qkv_bias=False,
             normalize=False, norm_name="batch"), [32, 64, 32]),
    "monai_swin_unetr_last": (
        dict(_target_="SwinUNETR", _monai_="1.4.0", in_channels=1, out_channels=2, feature_size=12, num_heads=[1, 2, 2, 3], downsample="mergingv2", window_size=[4, 3, 5],
             mlp_ratio=1.5), [64, 32, 32]),
    "monai_swin_unetr_2d": (
        dict(_target_="SwinUNETR", _monai_="1.4.0", spatial_dims=2, in_channels=3, out_channels=2, feature_size=24, patch_norm=True, use_v2=True, window_size=5), [96, 64]),
    "monai_segresnet_deconv": (
        dict(_target_="SegResNet", spatial_dims=2, in_channels=1, out_channels=2, init_filters=8, upsample_mode="deconv", norm_name="group", num_groups=4, blocks_down=[1, 2],
             blocks_up=[1]), [16, 24]),
}  # fmt: skip


# The neighbours that SwinUNETR merged in volumes before MONAI 1.5, by their place along each axis.
OLD = [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 0, 1), (0, 1, 0), (0, 0, 1), (1, 1, 1)]


def old_merging():
    from monai.networks.nets.swin_unetr import PatchMergingV2

    class Old(PatchMergingV2):
        def forward(self, x):
            return self.reduction(self.norm(torch.cat([x[:, i::2, j::2, k::2] for i, j, k in OLD], -1)))

    return Old


def monai(definition):
    def make():
        import monai.networks.nets as nets

        arguments = {k: tuple(v) if isinstance(v, list) else v for k, v in definition.items() if not k.startswith("_")}
        if definition.get("_monai_") == "1.4.0" and definition.get("spatial_dims", 3) == 3 and "downsample" not in definition:
            arguments["downsample"] = old_merging()
        return getattr(nets, definition["_target_"])(**arguments)

    return make


# Networks of so many depthwise kernels that values grow beyond what float32 computes.
DEEP = {"tv_efficientnet_b5": 1.4, "tv_efficientnet_v2_s": 2.8, "timm_tf_efficientnetv2": 1.4}

for name, (definition, sides) in DEFINED.items():
    CASES[name] = (definition, monai(definition), sides)

for archive in ("tv", "timm", "smp", "monai", "other"):
    path = OUT / f"{archive}.zip"
    entries = {}
    if path.exists():
        with zipfile.ZipFile(path) as z:
            entries = {i.filename: z.read(i) for i in z.infolist()}
    for name, (arch, make, side) in CASES.items():
        if not name.startswith(archive) or ONLY and name not in ONLY:
            continue
        net = make().eval()
        deep = DEEP.get(name, 2.0)
        shapes = fill(net, deep)
        size = {"other": lambda: (1, 1, side, side, side), "monai": lambda: (1, arch["in_channels"], *side)}.get(archive, lambda: (1, 3, side, side))()
        x = made("input", size)
        y = net(x)
        exact = net.double()(x.double())
        rounded = float((y - exact).abs().max() / exact.abs().max())
        net.float()
        moved = float((net(x * 0.5) - y).abs().max() / y.abs().max())
        flat = y.flatten().double().numpy()
        step = max(1, len(flat) // KEPT)
        kept = flat[::step]
        print(f"{name:28} {list(y.shape)} largest {abs(flat).max():.3g}, half the input moves it by {moved:.2g}, float32 by {rounded:.1g}", flush=True)
        # Networks that float32 itself does not compute to four places would compare nothing.
        assert np.isfinite(flat).all() and moved > 1e-3 and rounded < 1e-4, name
        about = {"definition" if archive == "monai" else "arch": arch, "deep": deep, "input": list(size), "shapes": shapes, "output": list(y.shape), "step": step,
                 "values": [float(f"{v:.7g}") for v in kept]}
        entries[f"{name}.json"] = json.dumps(about, separators=(",", ":")).encode()
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as z:
        for name in sorted(entries):
            z.writestr(zipfile.ZipInfo(name), entries[name], zipfile.ZIP_DEFLATED, 9)
    print(path, path.stat().st_size // 1024, "KB")
