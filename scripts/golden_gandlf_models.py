#!/usr/bin/env python3
"""Model folders of GaNDLF with what GaNDLF itself predicts, for crates/zoo/tests/golden/gandlf.

    python3.11 -m venv .venv-gandlf && .venv-gandlf/bin/pip install GANDLF==0.1.5
    .venv-gandlf/bin/python scripts/golden_gandlf_models.py crates/zoo/tests/golden/gandlf [NAME…]

Networks come from GaNDLF's table of models, checkpoints from its `save_model`, configurations pass its parser, and
results are those of its `main_run` in the mode for inference: its tables of cases, preprocessing, patches, aggregation,
decision and files. Probabilities are taken from its aggregator, before they are decided. Some networks are trained for
seconds; the others hold weights that repeat every 4093 numbers, so that a zip archive of their folder is small, and
running statistics of a few batches.
"""
import contextlib
import io
import json
import os
import pathlib
import shutil
import sys
import tempfile
import warnings
import zipfile

os.environ.update(CUDA_VISIBLE_DEVICES="", OMP_NUM_THREADS="1")
import numpy as np

warnings.filterwarnings("ignore")
WORK = pathlib.Path(tempfile.mkdtemp())
STEPS = 40


def model(architecture, norm, last, **more):
    return dict(architecture=architecture, norm_type=norm, final_layer=last, **more)


NONZERO = {"to_canonical": None, "normalize_nonZero": None}
COLOURS = {"normalize_imagenet": None}
# Name: `kind` is volume (rad), photo (rad, in two axes), classes (of photos) or slide (histo); what the configuration says.
CASES = {
    # The network of the paper.
    "resunet": dict(kind="volume", model=model("resunet", "instance", "softmax", base_filters=2), pre=NONZERO, overlap=16, trained=True),
    "unet": dict(kind="volume", channels=2, model=model("unet", "batch", "sigmoid", base_filters=4, sigmoid_input_multiplier=1.5),
                 pre={"to_canonical": None, "clip": {"min": 20, "max": 170}, "normalize": None}, patch=[32, 32, 16], overlap=8),
    "crop": dict(kind="volume", model=model("light_resunet_multilayer", "instance", "softmax", base_filters=8, depth=3),
                 pre={"threshold": {"min": 40, "max": 500}, "normalize": None}, patch=[32, 32, 16], overlap=8, aggregate="crop"),
    "light_unet": dict(kind="volume", model=model("light_unet", "batch", "softmax", base_filters=6), pre=NONZERO),
    "unet_multilayer": dict(kind="volume", model=model("unet_multilayer", "instance", "softmax", base_filters=4, depth=3),
                            pre={"rescale": {"in_min_max": [20, 180], "out_min_max": [0, 1], "percentiles": [2, 98]}}),
    "deep_resunet": dict(kind="volume", model=model("deep_resunet", "instance", "softmax", base_filters=4), pre={"normalize_nonZero_masked": None}, overlap=16),
    "uinc": dict(kind="volume", model=model("uinc", "instance", "softmax", base_filters=4), pre={"resample": {"resolution": [1.4, 1.4, 1.3]}, "normalize": None}),
    "fcn": dict(kind="volume", model=model("fcn", "batch", "sigmoid", base_filters=4), pre=NONZERO),
    "msdnet": dict(kind="volume", model=model("msdnet", "batch", "softmax"), pre={"to_canonical": None, "histogram_matching": {"target": None}, "normalize_nonZero": None}),
    "transunet": dict(kind="volume", model=model("transunet", "batch", "softmax", base_filters=4, depth=2, num_heads=3, embed_dim=24), pre=NONZERO, patch=[32, 32, 16]),
    "dynunet": dict(kind="volume", model=model("dynunet", "instance", "softmax", filters=[4, 8, 12, 16]), pre=NONZERO, patch=[32, 32, 16]),
    "deep_unet_photo": dict(kind="photo", model=model("deep_unet", "instance", "softmax", base_filters=4), pre={"stain_normalization": {"target": "none.png"}, "normalize_imagenet": None}, patch=[64, 64]),
    "unetr": dict(kind="photo", model=model("unetr", "batch", "sigmoid", inner_patch_size=4, num_heads=3, embed_dim=24), pre=COLOURS, patch=[64, 64]),
    "imagenet_unet": dict(kind="photo", model=model("imagenet_unet", "batch", "softmax", encoder_name="resnet18", pretrained=False, encoder_depth=4, decoder_channels=[64, 32, 16, 8]),
                          pre=COLOURS, patch=[64, 64]),
    "vgg11": dict(kind="classes", model=model("vgg11", "batch", "softmax"), pre={"normalize_div_by_255": None}, patch=[64, 64]),
    "densenet121": dict(kind="classes", model=model("densenet121", "batch", "softmax"), pre={"normalize_standardize": None}, patch=[48, 48]),
    "resnet18": dict(kind="classes", model=model("resnet18", "instance", "logits"), pre=COLOURS, patch=[64, 64], image=(96, 128)),
    "resnet50": dict(kind="classes", model=model("resnet50", "batch", "softmax"), pre={"resize_image": [48, 48], "normalize_imagenet": None}, patch=[32, 32]),
    "efficientnetb0": dict(kind="classes", model=model("efficientnetb0", "batch", "softmax"), pre=COLOURS, patch=[8, 8]),
    "regression": dict(kind="classes", model=model("vgg11", "none", "none"), pre={"normalize_div_by_255": None}, patch=[32, 32], regression=True),
    "histology": dict(kind="slide", model=model("resunet", "instance", "sigmoid", base_filters=2), pre={"normalize_div_by_255": None}, patch=[64, 64], trained=True),
    "histology_classes": dict(kind="slide", model=model("resnet18", "batch", "softmax"), pre=COLOURS, patch=[64, 64], classes=True),
}


def spheres(shape, seed, labels=2):
    """A body with spheres of each label; arrays are z, y, x."""
    rng = np.random.default_rng(seed)
    grid = np.stack(np.meshgrid(*[np.arange(n) for n in shape], indexing="ij"), -1)
    size = np.array(shape)
    body = (((grid - size / 2) / (size * 0.44)) ** 2).sum(-1) < 1
    seg = np.zeros(shape, np.uint8)
    for label in range(1, labels + 1):
        centre = size / 2 + rng.uniform(-0.16, 0.16, len(shape)) * size
        seg[(((grid - centre) ** 2).sum(-1) < (size.min() * 0.24 / label ** 0.4) ** 2) & body] = label
    return body, seg


def volume(path, seed, gains, spacing, kind=np.int16, shape=(40, 48, 44)):
    import SimpleITK as sitk

    body, seg = spheres(shape, seed)
    files = []
    for c, gain in enumerate(gains):
        rng = np.random.default_rng(10 * seed + c)
        v = np.full(shape, 100.0)
        for label, g in enumerate(gain, 1):
            v[seg == label] += g
        v = np.where(body, np.maximum(np.round(v + rng.normal(0, 6, shape)), 1), 0).astype(kind)
        files.append(path.with_name(f"{path.name}_{c}.nii.gz"))
        for array, to in ((v, files[-1]), (seg, path.with_name(f"{path.name}_seg.nii.gz"))):
            img = sitk.GetImageFromArray(array)
            img.SetSpacing(spacing)
            img.SetOrigin((-12.5, 7.25, 31.0))
            sitk.WriteImage(img, str(to), True)
    return files


def photo(path, seed, shape):
    """Discs of two colours on a coloured ground, as PNG; rows, columns."""
    from PIL import Image

    _, seg = spheres(shape, seed)
    rng = np.random.default_rng(seed)
    v = np.array([[150, 120, 170], [220, 60, 90], [60, 160, 90]])[seg] + rng.normal(0, 5, (*shape, 3))
    v = np.clip(v + 20 * np.sin(np.arange(shape[1]) / 9 + seed)[None, :, None], 0, 255)
    # Whole steps of four compress.
    Image.fromarray((v / 4).round().clip(0, 63).astype(np.uint8) * 4).save(path)
    Image.fromarray(seg).save(path.with_name(path.stem + "_seg.png"))
    return [path]


def slide(path, seed, side=320):
    """Stained discs beside empty glass, as a tiled TIFF of two levels."""
    import tifffile

    _, seg = spheres((side, side), seed)
    rng = np.random.default_rng(seed)
    v = np.array([[205, 130, 190], [180, 60, 140], [225, 150, 180]])[seg] + rng.normal(0, 4, (side, side, 3))
    v[:, side * 2 // 3:] = 244
    v = (v / 4).round().clip(0, 63).astype(np.uint8) * 4
    with tifffile.TiffWriter(path) as t:
        for k in (1, 2):
            t.write(v[::k, ::k], photometric="rgb", tile=(64, 64), compression="zlib", subfiletype=k - 1,
                    resolution=(2000 / k, 2000 / k), resolutionunit="CENTIMETER")
    from PIL import Image

    Image.fromarray(seg).save(path.with_name(path.stem + "_seg.png"))
    return [path]


def configuration(d):
    from importlib.metadata import version

    flat = d["kind"] != "volume"
    classes = [0, 1, 2] if d["kind"] != "slide" or d.get("classes") else [0, 1]
    labels = d["kind"] == "classes" or d.get("classes")
    own = version("GANDLF")
    return {
        "version": {"minimum": own, "maximum": own},
        "model": dict(dimension=2 if flat else 3, class_list=classes, num_channels=3 if flat else d.get("channels", 1), amp=False, print_summary=False, **d["model"]),
        "modality": "histo" if d["kind"] == "slide" else "rad",
        "patch_size": d.get("patch", [32, 32, 32]),
        "loss_function": "mse" if d.get("regression") else "cel" if labels else "dc",
        "metrics": ["mse"] if d.get("regression") else ["classification_accuracy"] if labels else ["dice"],
        "nested_training": {"testing": 1, "validation": 1},
        "data_preprocessing": d["pre"],
        "inference_mechanism": {"grid_aggregator_overlap": d.get("aggregate", "average"), "patch_overlap": d.get("overlap", 0)},
        "num_epochs": 1, "batch_size": 2,
    }


def repeated(net, seed):
    """Weights of one table of 4093 numbers, scaled by what a layer adds up; running statistics of some batches follow."""
    import torch

    rng = np.random.default_rng(seed)
    # Few different numbers, so that what does not repeat is small too.
    table = (rng.normal(0, 1.5, 4093).round().clip(-3, 3) / 1.5).astype(np.float32)
    with torch.no_grad():
        for p in net.parameters():
            n = p.numel()
            if p.dim() > 1:
                gain = 2.0 ** np.round(np.log2(np.sqrt(2.0 / (n / p.shape[0]))))
                p.copy_(torch.from_numpy(np.resize(table * np.float32(gain), n)).reshape(p.shape))
            else:
                p.copy_(p.round() + torch.from_numpy(np.resize(table[::-1], n) / 8))


def feature(net, layer, x):
    """What a layer sees of `x`."""
    import torch

    seen = []
    hook = layer.register_forward_hook(lambda m, i, o: seen.append(i[0]))
    with torch.no_grad():
        net(x)
    hook.remove()
    return seen[0]


def norms(net):
    import torch

    return [m for m in net.modules() if isinstance(m, (torch.nn.modules.batchnorm._BatchNorm, torch.nn.modules.instancenorm._InstanceNorm)) and m.running_mean is not None]


def inputs(d, config, cases):
    """What the network sees of the cases, by GaNDLF's own transforms, each [channels, x, y, z] with its labels."""
    import torchio
    from GANDLF.data.preprocessing import get_transforms_for_preprocessing
    from PIL import Image

    transform = get_transforms_for_preprocessing({"data_preprocessing": config["data_preprocessing"], "patch_size": config["patch_size"]}, [], False, False)
    out = []
    for files in cases:
        seg = files[0].with_name(files[0].name.split("_0")[0].removesuffix(".png").removesuffix(".tif") + ("_seg.nii.gz" if d["kind"] == "volume" else "_seg.png"))
        read = (lambda f: torchio.ScalarImage(tensor=np.asarray(Image.open(f)).transpose(2, 1, 0)[..., None])) if d["kind"] == "slide" else torchio.ScalarImage
        subject = torchio.Subject(label=torchio.LabelMap(seg), **{str(i): read(f) for i, f in enumerate(files)})
        subject = transform(subject)
        x = np.concatenate([np.asarray(subject[str(i)].data) for i in range(len(files))]).astype(np.float32)
        y = np.asarray(subject.label.data)[0].astype(np.int64)
        if d["kind"] == "slide":
            x, y = x.transpose(0, 2, 1, 3), y.transpose(1, 0, 2)
        out.append((x, y))
    return out


def patches(rng, data, patch, n):
    xs, ys = [], []
    for _ in range(n):
        x, y = data[rng.integers(len(data))]
        at = [rng.integers(s - p + 1) for s, p in zip(y.shape, patch)]
        cut = tuple(slice(a, a + p) for a, p in zip(at, patch))
        xs.append(x[(slice(None), *cut)]), ys.append(y[cut])
    return np.stack(xs), np.stack(ys)


def prepare(d, net, config, cases, dense):
    """Trains for some seconds, or only lets the running statistics settle."""
    import torch

    data = inputs(d, config, cases)
    patch = (list(config["patch_size"]) + [1])[:3]
    flat = config["model"]["dimension"] == 2
    rng = np.random.default_rng(1)
    classes = len(config["model"]["class_list"])
    train = bool(d.get("trained"))
    if not train:
        repeated(net, 5)
        for m in norms(net):
            m.momentum = None
            m.reset_running_stats()
        net.train()
    net.train()
    opt = torch.optim.Adam(net.parameters(), lr=5e-3)
    loss = torch.tensor(0.0)
    for _ in range(d.get("steps", STEPS) if train else 4):
        x, y = patches(rng, data, patch, 1 if train and not flat else 4)
        x, y = torch.from_numpy(np.ascontiguousarray(x)), torch.from_numpy(np.ascontiguousarray(y))
        if flat:
            x, y = x[..., 0], y[..., 0]
        if not train:
            with torch.no_grad():
                net(x)
            continue
        out = net(x)
        out = out[0] if isinstance(out, (list, tuple)) else out
        hot = torch.nn.functional.one_hot(y.clamp(max=classes - 1), classes).movedim(-1, 1).float()
        weight = 1 + 4 * (y > 0).float()[:, None]
        loss = torch.nn.functional.binary_cross_entropy(out.clamp(1e-6, 1 - 1e-6), hot, weight=weight)
        opt.zero_grad()
        loss.backward()
        opt.step()
    net.eval()
    for m in [] if train else norms(net):
        m.running_mean.mul_(64).round_().div_(64)
        m.running_var.mul_(64).round_().clamp_(min=1).div_(64)
    if not train and not dense:
        # Scores of classes that differ, and are not certain.
        with torch.no_grad():
            head = [m for m in net.modules() if isinstance(m, torch.nn.Linear)][-1]
            logits = torch.nn.functional.linear(feature(net, head, x), head.weight)
            head.weight.mul_(2.0 ** round(float(torch.log2(1 / logits.std()))))
            head.bias.copy_(-torch.nn.functional.linear(feature(net, head, x), head.weight).mean(0))
    if not train and dense:
        # Scores on either side of one half.
        with torch.no_grad():
            heads = [m for m in net.modules() if isinstance(m, (torch.nn.Conv2d, torch.nn.Conv3d))]
            heads[-1].weight.mul_(4)
    return float(loss.detach())


def table(path, cases, numbers):
    n = len(cases[0])
    lines = [",".join(["SubjectID", *[f"Channel_{i}" for i in range(n)], *(["ValueToPredict"] if numbers else [])])]
    for k, files in enumerate(cases):
        lines.append(",".join([f"case{k}", *[str(f) for f in files], *(["0"] if numbers else [])]))
    path.write_text("\n".join(lines) + "\n")


@contextlib.contextmanager
def watched(record):
    """Keeps what GaNDLF's aggregators give."""
    from GANDLF.models.lightning_module import GandlfLightningModule as module

    names = ["_get_predictions_on_subject_using_grid_sampler", "_iterate_over_histopathology_loader", "_initialize_probability_map"]
    own = {n: module.__dict__[n] for n in names}

    def grid(self, subject):
        out = own[names[0]](self, subject)
        record.append((out[0].detach().cpu().numpy()[0], {k: v for k, v in subject.items()}))
        return out

    def slide(self, *arguments):
        count, scores = own[names[1]](self, *arguments)
        record.append((scores.copy(), count.copy()))
        return count, scores

    module._get_predictions_on_subject_using_grid_sampler = grid
    module._iterate_over_histopathology_loader = slide
    # Sums in float16 round.
    module._initialize_probability_map = staticmethod(lambda n, w, h: np.zeros((n, h, w), np.float32))
    try:
        yield
    finally:
        for n in names:
            setattr(module, n, own[n])


def one(name, d, output):
    import torch
    import yaml
    from GANDLF.cli.main_run import main_run
    from GANDLF.config_manager import ConfigManager
    from GANDLF.models import get_model
    from GANDLF.utils.modelio import model_dict_full, save_model

    torch.manual_seed(4)
    torch.set_num_threads(1)
    target = output / name
    shutil.rmtree(target, ignore_errors=True)
    (target / "case").mkdir(parents=True)
    work = WORK / name
    (work / "model").mkdir(parents=True)
    config = configuration(d)
    text = yaml.safe_dump(config, sort_keys=False)
    (work / "model/config.yaml").write_text(text)
    spacing = (1.2, 1.0, 1.1)
    gains = [[40, 80], [-30, 60]][:d.get("channels", 1)]
    side = d.get("image", (64, 64) if d["kind"] == "classes" else (96, 128) if d["kind"] == "photo" else (224, 224))

    def case(k, folder):
        if d["kind"] == "volume":
            # Of whole numbers GaNDLF's resampling cuts off what is interpolated.
            return volume(folder / f"case{k}", 80 + k, gains, spacing, np.float32 if "resample" in d["pre"] else np.int16)
        if d.get("classes"):
            return slide(folder / f"case{k}.tif", 80 + k)
        return photo(folder / f"case{k}.png", 80 + k, side)

    training = [case(k, work) for k in range(3)]
    tests = [case(k, target / "case") for k in range(3, 6 if d["kind"] == "classes" else 4)]
    for f in (target / "case").glob("*_seg*"):
        f.unlink()
    numbers = d["kind"] == "classes" or bool(d.get("classes"))
    with contextlib.redirect_stdout(io.StringIO()):
        parameters = ConfigManager(str(work / "model/config.yaml"))
        parameters["problem_type"] = "regression" if d.get("regression") else "classification" if numbers else "segmentation"
        parameters["model"]["num_classes"] = 1 if d.get("regression") else len(config["model"]["class_list"])
        net = get_model(parameters)
        loss = prepare(d, net, parameters, training, dense=not numbers)
        architecture = d["model"]["architecture"]
        save_model({**model_dict_full, "epoch": 1, "model_state_dict": net.state_dict(), "optimizer_state_dict": {}, "loss": loss}, net, parameters,
                   str(work / "model" / f"{architecture}_best.pth.tar"), onnx_export=False)
        table(work / "cases.csv", tests, numbers)
        record = []
        with watched(record):
            main_run(str(work / "cases.csv"), str(work / "model/config.yaml"), str(work / "model"), False, False, False, output_dir=str(work / "out"))
    told = keep(name, d, target, work, tests, record)
    if not d.get("trained"):
        with zipfile.ZipFile(target / "model.zip", "w", zipfile.ZIP_DEFLATED, compresslevel=9) as z:
            for f in ("config.yaml", f"{architecture}_best.pth.tar"):
                z.write(work / "model" / f, f)
    else:
        (target / "model").mkdir()
        for f in ("config.yaml", f"{architecture}_best.pth.tar"):
            shutil.copy(work / "model" / f, target / "model" / f)
    return f"loss {loss:.3f}, {told}"


def keep(name, d, target, work, tests, record):
    import SimpleITK as sitk

    if d["kind"] == "classes":
        found = [r[0].ravel().tolist() for r in record]
        out = {"scores": {f"case{k + 3}": v for k, v in enumerate(found)}}
        final = list(work.rglob("final_preds_and_avg_probs.csv"))
        if final:
            out["table"] = final[0].read_text()
        (target / "scores.json").write_text(json.dumps(out, indent=1) + "\n")
        return f"scores {np.round(found, 3).tolist()}"
    if d["kind"] == "slide":
        scores, count = record[0]
        rows = list(work.rglob("output_predictions.csv"))
        if rows:
            shutil.copy(rows[0], target / "output_predictions.csv")
        np.savez_compressed(WORK / name / "maps.npz", scores=scores, count=count)
        # Where all windows that can cover a pixel do.
        full = np.argwhere(count == count.max())
        at = full[np.random.default_rng(5).choice(len(full), min(400, len(full)), replace=False)]
        values = scores[:, at[:, 0], at[:, 1]].T if not rows else np.zeros((0, 0))
        (target / "scores.json").write_text(json.dumps({"xyz": [[int(x), int(y), 0] for y, x in at][:len(values)], "scores": np.round(values.astype(float), 6).tolist()}))
        return f"slide {scores.shape}, windows of a pixel {np.unique(count).tolist()}"
    scores, subject = record[0]
    flat = d["kind"] == "photo"
    if flat:
        array = scores[..., 0].transpose(0, 2, 1)[:, None]
        pick(array, target / "scores.json")
        mask = next(p for p in work.rglob("*_seg_process_rank_0.png"))
        shutil.copy(mask, target / "labels.png")
        return f"pixels {np.bincount(sitk.GetArrayFromImage(sitk.ReadImage(str(mask))).ravel()).tolist()}"
    image = sitk.ReadImage(str(tests[0][0]))
    mask = sitk.ReadImage(str(next(work.rglob("*_seg_process_rank_0.nii.gz"))))
    back = sitk.Resample(mask, image, sitk.Transform(), sitk.sitkNearestNeighbor, 0, sitk.sitkUInt8)
    sitk.WriteImage(back, str(target / "labels.nii.gz"), True)
    import torchio

    affine = subject["1"].affine if "1" in subject else next(iter(subject.values())).affine
    planes = []
    for s in scores:
        own = torchio.ScalarImage(tensor=s[None], affine=affine).as_sitk()
        planes.append(sitk.GetArrayFromImage(sitk.Resample(own, image, sitk.Transform(), sitk.sitkNearestNeighbor, 0.0, sitk.sitkFloat32)))
    pick(np.stack(planes), target / "scores.json")
    return f"voxels {np.bincount(sitk.GetArrayFromImage(back).ravel()).tolist()}"


def pick(probabilities, path, n=400):
    """Probabilities [label, z, y, x] at voxels of one seed, of which half are not decided clearly."""
    rng = np.random.default_rng(5)
    top = np.sort(probabilities, 0)[-1]
    unclear = np.flatnonzero(np.abs(top - 0.6) < 0.3)
    some = rng.choice(unclear, min(n // 2, len(unclear)), replace=False) if len(unclear) else np.array([], int)
    at = np.unique(np.concatenate([some, rng.choice(top.size, n // 2, replace=False)])).astype(int)
    z, y, x = np.unravel_index(at, top.shape)
    path.write_text(json.dumps({"xyz": np.stack([x, y, z], 1).tolist(), "scores": np.round(probabilities[:, z, y, x].T.astype(float), 6).tolist()}))


def main():
    output, names = pathlib.Path(sys.argv[1]), sys.argv[2:]
    for name, d in CASES.items():
        if names and name not in names:
            continue
        try:
            told = one(name, d, output)
        except Exception as e:
            print(f"{name}: {type(e).__name__} {e}", flush=True)
            continue
        size = sum(f.stat().st_size for f in (output / name).rglob("*") if f.is_file())
        print(f"{name}: {size / 1e3:.0f} kB, {told}", flush=True)


if __name__ == "__main__":
    main()
