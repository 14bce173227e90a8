"""Small trained folders of nnU-Net, TotalSegmentator, MONAI and WSInfer with each framework's own predictions, for
cli/tests/golden/frameworks.

    python3.11 -m venv .venv-frameworks
    .venv-frameworks/bin/pip install torch==2.15.0 nnunetv2==2.8.1 monai==1.6.1 nibabel==5.4.2 SimpleITK==2.5.7 torchvision
    .venv-frameworks/bin/pip install --no-deps totalsegmentator==2.18.0 joblib
    .venv-frameworks/bin/python scripts/golden_frameworks.py nnunet OUTPUT [NAME…]

Images are made here, networks are narrow and trained for some seconds on the CPU, so that files are small and labels
are not decided by noise. Each folder of OUTPUT has `model/` (what a user has), `case/` (one case), and `labels.nii.gz`
with `scores.json` (probabilities at some voxels), which the framework's own inference made.
"""
import importlib.metadata
import json
import os
import pathlib
import shutil
import sys
import tempfile

import numpy as np

WORK = pathlib.Path(tempfile.mkdtemp())
for part in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
    os.environ.setdefault(part, str(WORK / part))
    pathlib.Path(os.environ[part]).mkdir(parents=True, exist_ok=True)


def spheres(shape, spacing, seed, labels):
    """A body with spheres of each label; zeros outside it. Arrays are z, y, x."""
    rng = np.random.default_rng(seed)
    grid = np.stack(np.meshgrid(*[np.arange(n) * s for n, s in zip(shape, spacing)], indexing="ij"), -1)
    size = np.array(shape) * np.array(spacing)
    body = (((grid - size / 2) / (size * 0.44)) ** 2).sum(-1) < 1
    seg = np.zeros(shape, np.uint8)
    for label in range(1, labels + 1):
        centre = size / 2 + rng.uniform(-0.16, 0.16, 3) * size
        seg[(((grid - centre) ** 2).sum(-1) < (size.min() * 0.2 / label ** 0.4) ** 2) & body] = label
    return body, seg


def image(body, seg, gains, seed, base=100.0, noise=6.0):
    """Intensities by label, whole numbers, so that files compress."""
    rng = np.random.default_rng(seed)
    v = np.full(seg.shape, base)
    for label, gain in enumerate(gains, 1):
        v[seg == label] += gain
    v = np.round(v + rng.normal(0, noise, seg.shape))
    return np.where(body, np.maximum(v, 1), 0).astype(np.int16)


def save(array, spacing, path):
    import SimpleITK as sitk

    img = sitk.GetImageFromArray(array)
    img.SetSpacing([float(s) for s in spacing[::-1]])
    img.SetOrigin((-12.5, 7.25, 31.0))
    sitk.WriteImage(img, str(path), True)


# Name: id, channels, channel gains by label, labels of dataset.json, shapes and spacings, planner, configuration, folds.
NNUNET = {
    "ct_anisotropic": dict(
        id=911, channels=["CT"], gains=[[40, 80, -50]], labels={"background": 0, "a": 1, "b": 2, "c": 3},
        shape=(20, 56, 52), spacing=(3.9, 0.9, 0.9), planner="ExperimentPlanner", configuration="3d_fullres", folds=[0, 1]),
    "mr_two": dict(
        id=912, channels=["T1", "noNorm"], gains=[[40, 80], [-30, 60]], labels={"background": 0, "a": 1, "b": 2},
        shape=(36, 40, 44), spacing=(1.2, 1.0, 1.0), planner="ExperimentPlanner", configuration="3d_fullres", folds=[0]),
    "resenc": dict(
        id=914, channels=["CT", "MR"], gains=[[40, 80], [-30, 60]], labels={"background": 0, "a": 1, "b": 2},
        shape=(36, 40, 44), spacing=(1.2, 1.0, 1.0), planner="nnUNetPlannerResEncM", configuration="3d_fullres", folds=[0]),
    "two_d": dict(
        id=915, channels=["MR"], gains=[[40, 80]], labels={"background": 0, "a": 1, "b": 2},
        shape=(14, 56, 60), spacing=(5.0, 0.8, 0.8), planner="ExperimentPlanner", configuration="2d", folds=[0]),
    "regions": dict(
        id=913, channels=["T1", "T2"], gains=[[30, 60, 90], [-30, 60, 20]],
        labels={"background": 0, "whole": [1, 2, 3], "core": [2, 3], "enh": 3}, order=[1, 2, 3],
        shape=(36, 40, 44), spacing=(1.2, 1.0, 1.0), planner="ExperimentPlanner", configuration="3d_fullres", folds=[0]),
    "transposed": dict(
        id=916, channels=["MR"], gains=[[40, 80]], labels={"background": 0, "a": 1, "b": 2},
        shape=(44, 40, 14), spacing=(1.0, 1.0, 5.0), planner="ExperimentPlanner", configuration="3d_fullres", folds=[0]),
    "cascade": dict(
        id=917, channels=["MR"], gains=[[40, 80]], labels={"background": 0, "a": 1, "b": 2},
        shape=(60, 64, 56), spacing=(1.0, 1.0, 1.0), planner="ExperimentPlanner", configuration="3d_cascade_fullres", folds=[0]),
    "ensemble": dict(
        id=918, channels=["MR"], gains=[[60, 110]], labels={"background": 0, "a": 1, "b": 2},
        shape=(30, 56, 52), spacing=(1.6, 0.9, 0.9), planner="ExperimentPlanner", configuration="ensemble", folds=[0]),
}
STEPS = 60


def nnunet_dataset(name, d):
    raw = pathlib.Path(os.environ["nnUNet_raw"]) / f"Dataset{d['id']}_{name}"
    shutil.rmtree(raw, ignore_errors=True)
    (raw / "imagesTr").mkdir(parents=True), (raw / "labelsTr").mkdir(), (raw / "imagesTs").mkdir()
    ending = d.get("ending", ".nii.gz")
    values = sorted({v for l in d["labels"].values() for v in (l if isinstance(l, list) else [l])} - {0})
    for k in range(5):
        test = k == 4
        shape = tuple(n + (k % 3) * 2 for n in d["shape"])
        spacing = tuple(s * (1 + 0.03 * (k % 3)) for s in d["spacing"])
        body, seg = spheres(shape, spacing, d["id"] + k, d.get("spheres", len(values)))
        for c, gains in enumerate(d["gains"]):
            folder = raw / ("imagesTs" if test else "imagesTr")
            save(image(body, seg, gains, 10 * k + c), spacing, folder / f"case{k}_{c:04d}{ending}")
        if not test:
            save(seg, spacing, raw / "labelsTr" / f"case{k}{ending}")
    info = dict(channel_names={str(i): n for i, n in enumerate(d["channels"])}, labels=d["labels"], numTraining=4, file_ending=ending)
    if "order" in d:
        info["regions_class_order"] = d["order"]
    (raw / "dataset.json").write_text(json.dumps(info))
    return raw


def patches(cases, patch, rng):
    """Two patches from random places of images [channel, …] and labels; smaller images are padded."""
    import torch

    xs, ys = [], []
    for _ in range(2):
        data, seg = cases[rng.integers(len(cases))]
        if len(patch) == 2:
            z = rng.integers(seg.shape[0])
            data, seg = data[:, z], seg[z]
        pad = [max(0, p - s) for p, s in zip(patch, seg.shape)]
        wide = [w for p in reversed(pad) for w in (p // 2, p - p // 2)]
        data, seg = torch.nn.functional.pad(data, wide), torch.nn.functional.pad(seg, wide)
        at = [rng.integers(s - p + 1) for p, s in zip(patch, seg.shape)]
        cut = tuple(slice(a, a + p) for a, p in zip(at, patch))
        xs.append(data[(slice(None), *cut)]), ys.append(seg[cut])
    return torch.stack(xs), torch.stack(ys)


def nnunet_train(plans, configuration, dataset_json, raw, seed, steps):
    """Some steps on patches of the preprocessed cases; the network as nnU-Net builds it."""
    import torch
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
    from nnunetv2.utilities.label_handling.label_handling import convert_labelmap_to_one_hot, determine_num_input_channels
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    pm = PlansManager(plans)
    cm = pm.get_configuration(configuration)
    lm = pm.get_label_manager(dataset_json)
    heads = lm.num_segmentation_heads
    net = nnUNetTrainer.build_network_architecture(pm, cm, determine_num_input_channels(pm, cm, dataset_json), heads, enable_deep_supervision=False)
    pre = cm.preprocessor_class(verbose=False)
    n = len(dataset_json["channel_names"])
    cases = []
    for k in range(4):
        images = [str(raw / "imagesTr" / f"case{k}_{c:04d}{dataset_json['file_ending']}") for c in range(n)]
        data, seg, _ = pre.run_case(images, str(raw / "labelsTr" / f"case{k}{dataset_json['file_ending']}"), pm, cm, dataset_json)
        if cm.previous_stage_name is not None:
            hot = convert_labelmap_to_one_hot(np.maximum(seg[0], 0), lm.foreground_labels, data.dtype)
            data = np.vstack((data, hot))
        cases.append((torch.from_numpy(np.asarray(data, np.float32)), torch.from_numpy(np.maximum(seg[0], 0).astype(np.int64))))
    opt = torch.optim.Adam(net.parameters(), lr=4e-3)
    patch = cm.patch_size
    for _ in range(steps):
        x, y = patches(cases, patch, rng)
        out = net(x)
        if lm.has_regions:
            want = torch.stack([torch.isin(y, torch.tensor(list(r) if isinstance(r, tuple) else [r])) for r in lm.foreground_regions], 1).float()
            loss = torch.nn.functional.binary_cross_entropy_with_logits(out, want)
        else:
            weight = torch.ones(heads)
            weight[0] = 0.3
            loss = torch.nn.functional.cross_entropy(out, y, weight=weight)
        opt.zero_grad()
        loss.backward()
        opt.step()
    return net, float(loss.detach())


def nnunet_probabilities(folder, folds, images, before=None):
    """Probabilities with sums of windows in float32: nnU-Net's float16 rounds logits to whole numbers where its Gaussian
    is smallest, at the image's borders."""
    import functools

    import nnunetv2.inference.predict_from_raw_data as module
    import torch

    half, gaussian = torch.half, module.compute_gaussian
    wide = functools.partial(gaussian, dtype=torch.float32)
    wide.cache_clear = gaussian.cache_clear
    torch.half, module.compute_gaussian = torch.float32, wide
    try:
        predictor = module.nnUNetPredictor(device=torch.device("cpu"), verbose=False, allow_tqdm=False)
        predictor.initialize_from_trained_model_folder(str(folder), tuple(folds))
        with tempfile.TemporaryDirectory() as t:
            predictor.predict_from_files_sequential(str(images), t, save_probabilities=True, overwrite=True,
                                                    folder_with_segs_from_prev_stage=before)
            return np.load(pathlib.Path(t) / "case4.npz")["probabilities"]
    finally:
        torch.half, module.compute_gaussian = half, gaussian


def nnunet_one(name, d, output):
    import torch
    from nnunetv2.experiment_planning.dataset_fingerprint.fingerprint_extractor import DatasetFingerprintExtractor
    from nnunetv2.experiment_planning.experiment_planners.default_experiment_planner import ExperimentPlanner
    from nnunetv2.experiment_planning.experiment_planners.residual_unets.residual_encoder_unet_planners import nnUNetPlannerResEncM
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    raw = nnunet_dataset(name, d)
    DatasetFingerprintExtractor(d["id"], 1).run(overwrite_existing=True)
    pre = pathlib.Path(os.environ["nnUNet_preprocessed"]) / raw.name
    planner = {"ExperimentPlanner": ExperimentPlanner, "nnUNetPlannerResEncM": nnUNetPlannerResEncM}[d["planner"]](d["id"])
    planner.UNet_base_num_features, planner.UNet_max_features_3d, planner.UNet_max_features_2d = 4, 24, 24
    plans = planner.plan_experiment()
    plans = json.loads((pre / f"{planner.plans_identifier}.json").read_text())
    if d["planner"] != "ExperimentPlanner":
        for c in plans["configurations"].values():
            if "architecture" in c:
                k = c["architecture"]["arch_kwargs"]
                k["n_blocks_per_stage"] = [min(2, n) for n in k["n_blocks_per_stage"]]
    configurations = [d["configuration"]]
    if d["configuration"] == "3d_cascade_fullres":
        low = json.loads(json.dumps(plans["configurations"]["3d_fullres"]))
        low["spacing"] = [s * 1.7 for s in low["spacing"]]
        low["patch_size"] = [32, 32, 32]
        low["next_stage"] = "3d_cascade_fullres"
        plans["configurations"]["3d_lowres"] = low
        plans["configurations"]["3d_fullres"]["patch_size"] = [32, 48, 32]
        plans["configurations"]["3d_cascade_fullres"] = {"inherits_from": "3d_fullres", "previous_stage": "3d_lowres"}
        configurations = ["3d_lowres", "3d_cascade_fullres"]
    elif d["configuration"] == "ensemble":
        configurations = ["2d", "3d_fullres"]
        # Of different grids, so that each resamples on its own.
        plans["configurations"]["3d_fullres"]["spacing"] = [2.4, 1.3, 1.3]
    elif "patch" in d:
        plans["configurations"][d["configuration"]]["patch_size"] = d["patch"]
    dataset_json = json.loads((raw / "dataset.json").read_text())
    results = pathlib.Path(os.environ["nnUNet_results"]) / raw.name
    shutil.rmtree(results, ignore_errors=True)
    before, members = None, []
    for configuration in configurations:
        folder = results / f"nnUNetTrainer__{planner.plans_identifier}__{configuration}"
        folder.mkdir(parents=True)
        (folder / "plans.json").write_text(json.dumps(plans, indent=1))
        (folder / "dataset.json").write_text(json.dumps(dataset_json, indent=1))
        shutil.copy(pre / "dataset_fingerprint.json", folder)
        flat = configuration == "2d"
        for fold in d["folds"]:
            net, loss = nnunet_train(plans, configuration, dataset_json, raw, d["id"] + fold, d.get("steps", STEPS))
            (folder / f"fold_{fold}").mkdir()
            torch.save({
                "network_weights": net.state_dict(), "optimizer_state": {}, "grad_scaler_state": None,
                "logging": {"mean_fg_dice": [np.float64(0.5)], "train_losses": [np.float32(loss)]}, "_best_ema": np.float64(0.5),
                "current_epoch": 1,
                "init_args": {"plans": plans, "configuration": configuration, "fold": fold, "dataset_json": dataset_json, "device": torch.device("cpu")},
                "trainer_name": "nnUNetTrainer",
                "inference_allowed_mirroring_axes": d.get("mirrored", (0, 1) if flat else (0, 1, 2)),
            }, folder / f"fold_{fold}" / "checkpoint_final.pth")
        predictor = nnUNetPredictor(device=torch.device("cpu"), verbose=False, allow_tqdm=False)
        predictor.initialize_from_trained_model_folder(str(folder), tuple(d["folds"]))
        predicted = WORK / f"{name}_{configuration}"
        predicted.mkdir(exist_ok=True)
        predictor.predict_from_files_sequential(str(raw / "imagesTs"), str(predicted), save_probabilities=True, overwrite=True,
                                                folder_with_segs_from_prev_stage=before)
        before_last, before = before, str(predicted) if d["configuration"] != "ensemble" else None
        members.append((folder, predicted))
    if d["configuration"] == "ensemble":
        exact = sum(nnunet_probabilities(f, d["folds"], raw / "imagesTs") for f, _ in members) / len(members)
        predicted = nnunet_ensemble(results, members, dataset_json, plans, d["folds"])
    else:
        exact = nnunet_probabilities(folder, d["folds"], raw / "imagesTs", before_last)
    target = output / name
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(results, target / "model" / raw.name)
    shutil.copytree(raw / "imagesTs", target / "case")
    ending = dataset_json["file_ending"]
    shutil.copy(predicted / f"case4{ending}", target / f"labels{ending}")
    scores(exact, target / "scores.json")
    import SimpleITK as sitk

    seg = sitk.GetArrayFromImage(sitk.ReadImage(str(target / f"labels{ending}")))
    return f"loss {loss:.3f}, voxels {np.bincount(seg.ravel()).tolist()}"


def nnunet_ensemble(results, members, dataset_json, plans, folds):
    """nnU-Net's own mean of its configurations, with the files by which it says that this is the best."""
    from nnunetv2.ensembling.ensemble import ensemble_folders
    from nnunetv2.postprocessing.remove_connected_components import apply_postprocessing_to_folder, remove_all_but_largest_component_from_segmentation
    from batchgenerators.utilities.file_and_folder_operations import save_pickle

    names = [f.name for f, _ in members]
    merged, done = WORK / "merged", WORK / "merged_pp"
    ensemble_folders([str(p) for _, p in members], str(merged), False, 1, dataset_json, plans)
    folder = results / "ensembles" / "___".join(["ensemble", *names, "_".join(map(str, folds))])
    folder.mkdir(parents=True)
    functions, arguments = [remove_all_but_largest_component_from_segmentation], [{"labels_or_regions": [1, 2]}]
    save_pickle((functions, arguments), str(folder / "postprocessing.pkl"))
    apply_postprocessing_to_folder(str(merged), str(done), functions, arguments, plans, dataset_json, num_processes=1)
    chosen = [dict(zip(("trainer", "plans_identifier", "configuration"), n.split("__"))) for n in names]
    (results / "inference_information.json").write_text(json.dumps({
        "folds": folds, "best_model_or_ensemble": {"postprocessing_file": str(pathlib.Path("nnUNet_results") / results.name / "ensembles" / folder.name / "postprocessing.pkl"), "selected_model_or_models": chosen}}, indent=1))
    return done


def scores(probabilities, path, n=400):
    """Probabilities [label, z, y, x] at voxels of one seed, of which half are not decided clearly."""
    rng = np.random.default_rng(5)
    top = np.sort(probabilities, 0)[-1]
    unclear = np.flatnonzero(np.abs(top - 0.75) < 0.24)
    some = rng.choice(unclear, min(n // 2, len(unclear)), replace=False) if len(unclear) else np.array([], int)
    at = np.unique(np.concatenate([some, rng.choice(top.size, n // 2, replace=False)])).astype(int)
    z, y, x = np.unravel_index(at, top.shape)
    json.dump({"xyz": np.stack([x, y, z], 1).tolist(),
               "scores": np.round(probabilities[:, z, y, x].T.astype(float), 5).tolist()}, open(path, "w"))


# Name: class and arguments, channels, labels, whether the output is decided by argmax, transforms, window.
MONAI = {
    "monai_unet": dict(
        network={"_target_": "UNet", "spatial_dims": 3, "in_channels": 1, "out_channels": 3, "channels": [4, 8, 16],
                 "strides": [2, 2], "num_res_units": 2, "norm": "batch"}, gains=[[40, 80]], argmax=True),
    "monai_unet_plain": dict(
        network={"_target_": "UNet", "spatial_dims": 3, "in_channels": 1, "out_channels": 3, "channels": [4, 8, 16],
                 "strides": [2, 2]}, gains=[[40, 80]], argmax=True),
    "monai_basicunet": dict(
        network={"_target_": "BasicUNet", "spatial_dims": 3, "in_channels": 1, "out_channels": 3,
                 "features": [4, 4, 8, 8, 16, 4]}, gains=[[40, 80]], argmax=True),
    "monai_segresnet": dict(
        network={"_target_": "SegResNet", "spatial_dims": 3, "init_filters": 8, "in_channels": 2, "out_channels": 2,
                 "blocks_down": [1, 1, 1], "blocks_up": [1, 1]}, gains=[[40, 80], [-30, 60]], argmax=False),
    "monai_dynunet": dict(
        network={"_target_": "DynUNet", "spatial_dims": 3, "in_channels": 1, "out_channels": 3, "kernel_size": [3, 3, 3],
                 "strides": [1, 2, 2], "upsample_kernel_size": [2, 2], "filters": [4, 8, 16], "res_block": True},
        gains=[[40, 80]], argmax=True),
    # As TorchScript (model.ts): networks that are known by their code alone.
    "monai_script_attention": dict(
        network={"_target_": "AttentionUnet", "spatial_dims": 3, "in_channels": 1, "out_channels": 3, "channels": [4, 8, 16],
                 "strides": [2, 2]}, gains=[[40, 80]], argmax=True, script=True),
    "monai_script_unetr": dict(
        network={"_target_": "UNETR", "in_channels": 1, "out_channels": 3, "img_size": [32, 32, 32], "feature_size": 4,
                 "hidden_size": 24, "mlp_dim": 32, "num_heads": 3}, gains=[[40, 80]], argmax=True, script=True),
}


def monai_one(name, d, output):
    import monai
    import nibabel as nib
    import torch
    from monai.bundle import ConfigParser

    torch.manual_seed(3)
    shape, spacing = (32, 36, 40), (1.2, 1.0, 1.0)
    labels = len(d["gains"][0])
    cases = []
    for k in range(4):
        body, seg = spheres(shape, spacing, 50 + k, labels)
        cases.append(([image(body, seg, g, 10 * k + c) for c, g in enumerate(d["gains"])], seg))
    target = output / name
    shutil.rmtree(target, ignore_errors=True)
    bundle = target / "model" / name
    (bundle / "configs").mkdir(parents=True), (bundle / "models").mkdir(), (target / "case").mkdir()
    n = len(d["gains"])
    files = []
    for c in range(n):
        files.append(target / "case" / (f"case4_{c}.nii.gz" if n > 1 else "case4.nii.gz"))
        save(cases[3][0][c], spacing, files[-1])
    definition = d["network"]
    scale = ({"_target_": "NormalizeIntensityd", "keys": "image", "nonzero": True, "channel_wise": True} if n > 1 else
             {"_target_": "ScaleIntensityRanged", "keys": "image", "a_min": 0, "a_max": 200, "b_min": 0, "b_max": 1, "clip": True})
    config = {
        "network_def": definition,
        "preprocessing": {"_target_": "Compose", "transforms": [
            {"_target_": "LoadImaged", "keys": "image"},
            {"_target_": "EnsureChannelFirstd", "keys": "image"},
            {"_target_": "Orientationd", "keys": "image", "axcodes": "RAS"},
            {"_target_": "Spacingd", "keys": "image", "pixdim": [1.1, 1.1, 1.1], "mode": "bilinear"},
            scale,
        ]},
        "inferer": {"_target_": "SlidingWindowInferer", "roi_size": [32, 32, 32], "sw_batch_size": 1, "overlap": 0.5, "mode": "gaussian"},
        "postprocessing": {"_target_": "Compose", "transforms": [
            {"_target_": "Activationsd", "keys": "pred", **({"softmax": True} if d["argmax"] else {"sigmoid": True})},
            {"_target_": "Invertd", "keys": "pred", "transform": "@preprocessing", "orig_keys": "image", "nearest_interp": False, "to_tensor": True},
            {"_target_": "AsDiscreted", "keys": "pred", **({"argmax": True} if d["argmax"] else {"threshold": 0.5})},
        ]},
    }
    (bundle / "configs/inference.json").write_text(json.dumps(config, indent=1))
    names = ["background", "a", "b"] if d["argmax"] else ["a", "b"]
    metadata = {"name": name, "description": "toy spheres", "network_data_format": {
        "inputs": {"image": {"type": "image", "num_channels": n, "channel_def": {str(i): f"MR{i}" for i in range(n)}}},
        "outputs": {"pred": {"type": "probabilities", "format": "segmentation", "num_channels": len(names),
                             "channel_def": {str(i): x for i, x in enumerate(names)}}}}}
    (bundle / "configs/metadata.json").write_text(json.dumps(metadata, indent=1))
    parser = ConfigParser(config)
    net = parser.get_parsed_content("network_def")
    prepare = parser.get_parsed_content("preprocessing")
    opt = torch.optim.Adam(net.parameters(), lr=5e-3)

    def prepared(images):
        with tempfile.TemporaryDirectory() as t:
            paths = [pathlib.Path(t) / f"{c}.nii.gz" for c in range(n)]
            [save(i, spacing, p) for i, p in zip(images, paths)]
            return prepare({"image": [str(p) for p in paths] if n > 1 else str(paths[0])})["image"]

    data = []
    for images, seg in cases[:3]:
        x = prepared(images)
        with tempfile.TemporaryDirectory() as t:
            save(seg, spacing, pathlib.Path(t) / "s.nii.gz")
            y = monai.transforms.Compose([monai.transforms.LoadImage(ensure_channel_first=True), monai.transforms.Orientation("RAS"),
                                          monai.transforms.Spacing((1.1, 1.1, 1.1), mode="nearest")])(pathlib.Path(t) / "s.nii.gz")
        data.append((torch.as_tensor(np.asarray(x)), torch.as_tensor(np.asarray(y))[0].long()))
    rng = np.random.default_rng(1)
    for _ in range(STEPS):
        x, y = data[rng.integers(len(data))]
        at = [rng.integers(s - 32 + 1) for s in y.shape]
        cut = tuple(slice(a, a + 32) for a in at)
        out = net(x[(slice(None), *cut)][None])
        if d["argmax"]:
            loss = torch.nn.functional.cross_entropy(out, y[cut][None], weight=torch.tensor([0.3, 1.0, 1.0]))
        else:
            want = torch.stack([y[cut] >= 1, y[cut] >= 2])[None].float()
            loss = torch.nn.functional.binary_cross_entropy_with_logits(out, want)
        opt.zero_grad()
        loss.backward()
        opt.step()
    net.eval()
    if d.get("script"):
        torch.jit.script(net).save(str(bundle / "models/model.ts"))
    else:
        torch.save(net.state_dict(), bundle / "models/model.pt")
    with torch.no_grad():
        item = prepare({"image": [str(f) for f in files] if n > 1 else str(files[0])})
        logits = parser.get_parsed_content("inferer")(item["image"][None], net)[0]
    item["pred"] = monai.data.MetaTensor(logits, meta=item["image"].meta, applied_operations=item["image"].applied_operations)
    post = parser.get_parsed_content("postprocessing").transforms
    item = post[1](post[0](item))
    probabilities = np.asarray(item["pred"]).transpose(0, 3, 2, 1)
    seg = np.asarray(post[2](item)["pred"])
    seg = seg[0] if d["argmax"] else (np.where(seg[1] > 0, 2, np.where(seg[0] > 0, 1, 0)))
    grid = nib.load(files[0])
    nib.save(nib.Nifti1Image(seg.astype(np.uint8), grid.affine), target / "labels.nii.gz")
    scores(probabilities, target / "scores.json")
    return f"loss {float(loss.detach()):.3f}, voxels {np.bincount(seg.astype(int).ravel()).tolist()}"


# Name: TotalSegmentator's task, its part models and rough model, and what is asked of them. Spheres stand for the first organs of
# each; labels of rough models are numbered as TotalSegmentator's, of which they may have more than spheres.
TOTALSEGMENTATOR = {
    "totalsegmentator": dict(
        task="total_mr", shape=(62, 70, 58), spacing=(1.3, 1.1, 1.25), gains=[60, -50, 110, 170], subset=["spleen"],
        parts={
            850: dict(part="class_map_part_organs", gains=[60, -50], mirrored=(0, 1, 2)),
            851: dict(part="class_map_part_muscles", gains=[110, 170]),
            852: dict(like="total_mr", count=2, gains=[60, -50], mm=3.0, shape=(22, 24, 22), patch=[24, 24, 24]),
        }),
    "totalsegmentator_cropped": dict(
        task="kidney_cysts", shape=(38, 66, 62), spacing=(5.0, 2.9, 3.1), gains=[60, -50, 110, 170], noise=3,
        parts={
            789: dict(like="kidney_cysts", more="kidney_cysts_auxiliary", count=4, gains=[60, -50, 110, 170], mm=1.5,
                      shape=(44, 46, 42), patch=[32, 32, 32]),
            298: dict(like="total", count=20, gains=[60, -50, 110], mm=6.0, shape=(26, 28, 26), patch=[24, 24, 24]),
        }),
    "totalsegmentator_body": dict(
        task="body", fast=True, shape=(56, 64, 60), spacing=(3.2, 3.0, 3.0), gains=[60, -60], noise=3,
        # Of the trunk the smaller piece goes, of the extremities the one below 50 ml: centres as shares of the image, and radii in mm.
        blobs=[(1, (0.4, 0.35, 0.5), 42), (1, (0.75, 0.6, 0.75), 14), (2, (0.5, 0.72, 0.5), 29), (2, (0.72, 0.62, 0.3), 16)],
        parts={300: dict(like="body", count=2, gains=[60, -60], mm=6.0, shape=(30, 32, 28), patch=[24, 24, 24])}),
}


def blobs(shape, spacing, pieces):
    """A body with spheres of given places and radii."""
    body, seg = spheres(shape, spacing, 0, 0)
    grid = np.stack(np.meshgrid(*[np.arange(n) * s for n, s in zip(shape, spacing)], indexing="ij"), -1)
    size = np.array(shape) * np.array(spacing)
    for label, centre, radius in pieces:
        seg[((grid - size * np.array(centre)) ** 2).sum(-1) < radius ** 2] = label
    return body | (seg > 0), seg


def totalsegmentator_part(number, own, target):
    """A part model by nnU-Net in TotalSegmentator's folder."""
    from totalsegmentator.map_to_binary import class_map, class_map_parts_mr

    classes = class_map_parts_mr[own["part"]] if "part" in own else class_map[own["like"]] | class_map.get(own.get("more"), {})
    organs = list(classes.values())[:own.get("count", 2)]
    mm = own.get("mm", 1.5)
    part = dict(
        id=number, channels=["MR"], gains=[own["gains"]], labels={"background": 0} | {n: i for i, n in enumerate(organs, 1)},
        spheres=len(own["gains"]), shape=own.get("shape", (44, 46, 42)), spacing=(mm, mm, mm), planner="ExperimentPlanner",
        configuration="3d_fullres", folds=[0], mirrored=own.get("mirrored"), steps=220, patch=own.get("patch", [32, 40, 32]))  # fmt: skip
    name = f"TotalSegMRI_part{number}"
    nnunet_one(name, part, WORK / "parts")
    shutil.copytree(WORK / "parts" / name / "model" / f"Dataset{number}_{name}", target / "model" / f"Dataset{number}_{name}")


def totalsegmentator_one(name, d, output):
    """TotalSegmentator's own prediction, as its command has it by default, on an image that takes several windows; also of some
    organs only, for which a rough model finds the box first."""
    target = output / name
    shutil.rmtree(target, ignore_errors=True)
    (target / "model").mkdir(parents=True), (target / "case").mkdir()
    os.environ["TOTALSEG_WEIGHTS_PATH"] = str(target.resolve() / "model")
    os.environ["TOTALSEG_HOME_DIR"] = str(WORK / "home")
    import nibabel as nib
    import totalsegmentator.nnunet
    import totalsegmentator.python_api as api

    for number, own in d["parts"].items():
        totalsegmentator_part(number, own, target)
    shape, spacing = d["shape"], d["spacing"]
    body, seg = blobs(shape, spacing, d["blobs"]) if "blobs" in d else spheres(shape, spacing, 77, len(d["gains"]))
    path = target / "case/case4.nii.gz"
    save(image(body, seg, d["gains"], 78, noise=d.get("noise", 6)), spacing, path)
    os.environ["nnUNet_results"] = os.environ["TOTALSEG_WEIGHTS_PATH"]
    # Weights are here, whatever their trainer is called, and nobody is told.
    api.download_pretrained_weights = api.send_usage_stats = lambda *_: None
    totalsegmentator.nnunet.get_output_folder = lambda number, *_: str(next((target / "model").glob(f"Dataset{number:03d}_*/*__*")))
    asked = {"labels.nii.gz": None} | ({"labels_subset.nii.gz": d["subset"]} if "subset" in d else {})
    told = ""
    for file, subset in asked.items():
        found = api.totalsegmentator(path, None, ml=True, task=d["task"], fast=d.get("fast", False), roi_subset=subset, device="cpu", quiet=True)
        labels = np.asarray(found.dataobj).astype(np.uint8)
        nib.save(nib.Nifti1Image(labels, nib.load(path).affine), target / file)
        told += f"{file}: voxels {np.unique(labels, return_counts=True)} "
    return told


# Name: side of the images that the network sees.
WSINFER = {"wsinfer": dict(side=64)}


def wsinfer_one(name, d, output):
    """A small classifier in a folder of WSInfer's zoo; probabilities of a tile by torchvision's transforms."""
    import torch
    import torchvision
    from PIL import Image

    torch.manual_seed(8)
    target = output / name
    shutil.rmtree(target, ignore_errors=True)
    (target / "model").mkdir(parents=True), (target / "case").mkdir()
    block = torchvision.models.resnet.BasicBlock
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3, 2, 1), torch.nn.BatchNorm2d(8), torch.nn.ReLU(), block(8, 8), block(8, 8),
                              torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(8, 3)).eval()
    for m in net.modules():
        if isinstance(m, torch.nn.BatchNorm2d):
            m.running_mean.normal_(0, 0.3), m.running_var.uniform_(0.5, 2)
    torch.jit.script(net).save(str(target / "model/torchscript_model.pt"))
    mean, std = [0.7, 0.55, 0.7], [0.2, 0.25, 0.2]
    (target / "model/config.json").write_text(json.dumps({
        "spec_version": "1.0", "architecture": "small", "num_classes": 3, "class_names": ["none", "tumour", "stroma"], "name": "small",
        "patch_size_pixels": 96, "spacing_um_px": 0.5,
        "transform": [{"name": "Resize", "arguments": {"size": d["side"]}}, {"name": "ToTensor"},
                      {"name": "Normalize", "arguments": {"mean": mean, "std": std}}]}, indent=1))
    rng = np.random.default_rng(3)
    x = np.kron(rng.integers(0, 256, (12, 12, 3)), np.ones((8, 8, 1))) + rng.normal(0, 6, (96, 96, 3))
    Image.fromarray(np.clip(x, 0, 255).astype(np.uint8)).save(target / "case/tile.png")
    transform = torchvision.transforms.Compose([torchvision.transforms.Resize(d["side"]), torchvision.transforms.ToTensor(),
                                                torchvision.transforms.Normalize(mean, std)])
    with torch.no_grad():
        found = net(transform(Image.open(target / "case/tile.png"))[None]).softmax(1)[0].tolist()
    (target / "probabilities.json").write_text(json.dumps(found))
    return f"probabilities {np.round(found, 4)}"


def size(folder):
    return sum(f.stat().st_size for f in folder.rglob("*") if f.is_file())


def main():
    what, output, names = sys.argv[1], pathlib.Path(sys.argv[2]), sys.argv[3:]
    table, make = {"nnunet": (NNUNET, nnunet_one), "monai": (MONAI, monai_one),
                   "totalsegmentator": (TOTALSEGMENTATOR, totalsegmentator_one), "wsinfer": (WSINFER, wsinfer_one)}[what]
    for name, d in table.items():
        if names and name not in names:
            continue
        told = make(name, d, output)
        print(f"{what}/{name}: {size(output / name) / 1e3:.0f} kB, {told}", flush=True)


if __name__ == "__main__":
    main()
