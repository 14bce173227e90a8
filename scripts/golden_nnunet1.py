"""Small trained folders of nnU-Net v1 with its own predictions, for crates/zoo/tests/golden/nnunet1.

    python3.11 -m venv .venv-frameworks        # that of scripts/golden_frameworks.py, and:
    .venv-frameworks/bin/pip install --no-deps nnunet==1.7.1
    .venv-frameworks/bin/python scripts/golden_nnunet1.py crates/zoo/tests/golden/nnunet1 [NAME…]

The network is built by its trainer of the plans that are made here, trained for seconds on images of spheres, and predicts
through `predict_cases`: its preprocessing, sliding window, mirroring, average of folds and export.
"""
import json
import multiprocessing
import multiprocessing.pool
import os
import pathlib
import pickle
import shutil
import sys
import tempfile
import types

import numpy as np

WORK = pathlib.Path(tempfile.mkdtemp())
os.environ.update(nnUNet_raw_data_base=str(WORK / "raw"), nnUNet_preprocessed=str(WORK / "pre"), RESULTS_FOLDER=str(WORK / "results"))
# Threads serve as its processes: what is sent between them is the same.
sys.path.insert(0, str(pathlib.Path(__file__).parent))
for name in ("medpy", "medpy.metric", "dicom2nifti"):
    sys.modules[name] = types.ModuleType(name)
sys.modules["medpy"].metric = sys.modules["medpy.metric"]

import SimpleITK as sitk
import torch

from golden_frameworks import image, patches, save, scores, spheres

torch.set_num_threads(1)
load = torch.load
torch.load = lambda *a, **k: load(*a, **{"weights_only": False, **k})
OUT = pathlib.Path(sys.argv[1])
ONLY = sys.argv[2:]
STEPS = 50

CASES = {
    # Anisotropic CT, axes transposed by the plans, two folds.
    "v1_ct": dict(modalities=["CT"], gains=[[60, 110]], shape=(40, 36, 12), spacing=(1.1, 1.0, 4.0), target=(4.4, 1.3, 1.2),
                  forward=[2, 0, 1], patch=(8, 32, 32), pool=[[1, 2, 2], [2, 2, 2]], conv=[[1, 3, 3], [3, 3, 3], [3, 3, 3]], folds=[0, 1]),
    # Two channels of MR, normalised within what is not zero.
    "v1_mr": dict(modalities=["T1", "T2"], gains=[[40, 80], [-30, 60]], shape=(30, 32, 34), spacing=(1.2, 1.0, 1.0), target=(1.4, 1.2, 1.1),
                  forward=[0, 1, 2], patch=(16, 24, 24), pool=[[2, 2, 2], [2, 2, 2]], conv=[[3, 3, 3]] * 3, folds=[0], base=3, steps=120),
    "v1_2d": dict(modalities=["MR"], gains=[[60, 110]], shape=(8, 40, 44), spacing=(5.0, 0.9, 0.9), target=(5.0, 1.1, 1.1),
                  forward=[0, 1, 2], patch=(32, 32), pool=[[2, 2], [2, 2]], conv=[[3, 3]] * 3, folds=[0], steps=150),
}


def plans(d, data):
    """What its planner writes, of the sizes that are given."""
    count = len(d["modalities"])
    ct = [m == "CT" for m in d["modalities"]]
    values = [data[c][data[c] > 0] for c in range(count)]
    properties = {c: {"median": float(np.median(v)), "mean": float(v.mean()), "sd": float(v.std()), "mn": float(v.min()), "mx": float(v.max()),
                      "percentile_99_5": float(np.percentile(v, 99.5)), "percentile_00_5": float(np.percentile(v, 0.5))} for c, v in enumerate(values)}
    flat = len(d["patch"]) == 2
    stage = {"batch_size": 2, "num_pool_per_axis": [len(d["pool"])] * len(d["patch"]), "patch_size": np.array(d["patch"]),
             "median_patient_size_in_voxels": np.array([32, 32, 32]), "current_spacing": np.array(d["target"]),
             "original_spacing": np.array(d["spacing"]), "do_dummy_2D_data_aug": False,
             "pool_op_kernel_sizes": d["pool"], "conv_kernel_sizes": d["conv"]}
    labels = len(d["gains"][0])
    return {"num_stages": 1, "num_modalities": count, "modalities": dict(enumerate(d["modalities"])),
            "normalization_schemes": {c: "CT" if ct[c] else "nonCT" for c in range(count)},
            "dataset_properties": {"intensityproperties": properties}, "num_classes": labels, "all_classes": list(range(1, labels + 1)),
            "base_num_features": d.get("base", 4), "use_mask_for_norm": {c: not ct[c] for c in range(count)}, "keep_only_largest_region": None,
            "min_region_size_per_class": None, "min_size_per_class": None, "transpose_forward": d["forward"],
            "transpose_backward": [d["forward"].index(i) for i in range(3)], "data_identifier": "nnUNetData_plans_v2.1",
            "plans_per_stage": {0: stage}, "conv_per_stage": 2,
            "preprocessor_name": "PreprocessorFor2D" if flat else "GenericPreprocessor"}


def train(trainer, cases, seed, steps):
    """Some steps on patches of preprocessed cases."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    net, patch = trainer.network, trainer.patch_size
    net.train()
    net.do_ds = False
    opt = torch.optim.Adam(net.parameters(), lr=6e-3)
    weight = torch.ones(trainer.num_classes)
    weight[0] = 0.25
    for _ in range(steps):
        x, y = patches(cases, patch, rng)
        out = net(x)
        loss = torch.nn.functional.cross_entropy(out, y, weight=weight)
        opt.zero_grad(), loss.backward(), opt.step()
    net.eval()
    return float(loss.detach())


def one(name, d):
    from nnunet.inference import predict
    from nnunet.training.network_training.nnUNetTrainerV2 import nnUNetTrainerV2

    # Processes would import everything again.
    predict.Pool = multiprocessing.pool.ThreadPool
    raw = WORK / name
    raw.mkdir()
    count, labels = len(d["gains"]), len(d["gains"][0])
    for k in range(4):
        shape = tuple(n + (k % 3) * 2 for n in d["shape"])
        spacing = tuple(s * (1 + 0.03 * (k % 3)) for s in d["spacing"])
        body, seg = spheres(shape, spacing, 900 + k, labels)
        for c, gains in enumerate(d["gains"]):
            save(image(body, seg, gains, 10 * k + c), spacing, raw / f"case{k}_{c:04d}.nii.gz")
        save(seg, spacing, raw / f"seg{k}.nii.gz")
    files = lambda k: [str(raw / f"case{k}_{c:04d}.nii.gz") for c in range(count)]
    data = [sitk.GetArrayFromImage(sitk.ReadImage(f)) for f in files(0)]
    made = plans(d, data)
    configuration = "2d" if len(d["patch"]) == 2 else "3d_fullres"
    folder = WORK / "model" / configuration / f"Task900_{name}" / "nnUNetTrainerV2__nnUNetPlansv2.1"
    shutil.rmtree(WORK / "model", ignore_errors=True)
    folder.mkdir(parents=True)
    pickle.dump(made, open(folder / "plans.pkl", "wb"))
    for fold in d["folds"]:
        init = (str(folder / "plans.pkl"), fold, str(folder), "data", False, 0, True, False, False)
        torch.manual_seed(40 + fold)
        trainer = nnUNetTrainerV2(*init)
        trainer.initialize(False)
        cases = []
        for k in range(3):
            pre, _, properties = trainer.preprocess_patient(files(k))
            full = sitk.GetArrayFromImage(sitk.ReadImage(str(raw / f"seg{k}.nii.gz")))
            box = properties["crop_bbox"]
            cut = full[tuple(slice(*b) for b in box)].transpose(d["forward"])
            seg = torch.nn.functional.interpolate(torch.from_numpy(cut[None, None].astype(np.float32)), size=pre.shape[1:], mode="nearest")
            cases.append((torch.from_numpy(np.asarray(pre, np.float32)), seg[0, 0].long()))
        loss = train(trainer, cases, 40 + fold, d.get("steps", STEPS))
        # Its trainer leaves a log there.
        shutil.rmtree(folder / f"fold_{fold}", ignore_errors=True)
        (folder / f"fold_{fold}").mkdir()
        # As `save_checkpoint` writes it, without what only training needs and without this machine's folders.
        torch.save({"epoch": 1, "state_dict": {k: v.cpu() for k, v in trainer.network.state_dict().items()}, "optimizer_state_dict": None,
                    "lr_scheduler_state_dict": None, "plot_stuff": ([loss], [loss], [], []), "best_stuff": (None, None, None)},
                   folder / f"fold_{fold}" / "model_final_checkpoint.model")
        init = ("plans.pkl", fold, "model", "data", False, 0, True, False, False)
        info = {"init": init, "name": "nnUNetTrainerV2", "class": str(nnUNetTrainerV2), "plans": made}
        pickle.dump(info, open(folder / f"fold_{fold}" / "model_final_checkpoint.model.pkl", "wb"))
    where = os.getcwd()
    os.chdir(folder)
    predict.preprocess_multithreaded = lambda trainer, lists, outs, *_: [
        (o, (lambda r: (r[0], r[2]))(trainer.preprocess_patient(f))) for f, o in zip(lists, outs)]
    done = WORK / f"{name}_done" / "case3.nii.gz"
    predict.predict_cases(str(folder), [files(3)], [str(done)], d["folds"], True, 1, 1, mixed_precision=False)
    os.chdir(where)
    target = OUT / name
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(WORK / "model", target / "model")
    (target / "case").mkdir()
    for f in files(3):
        shutil.copy(f, target / "case")
    shutil.copy(done, target / "labels.nii.gz")
    probabilities = np.load(str(done)[:-7] + ".npz")["softmax"].astype(np.float32)
    scores(probabilities, target / "scores.json")
    # They are those of the part that is not zero.
    kept = json.loads((target / "scores.json").read_text())
    box = pickle.load(open(str(done)[:-7] + ".pkl", "rb"))["crop_bbox"]
    kept["xyz"] = [[x + box[2][0], y + box[1][0], z + box[0][0]] for x, y, z in kept["xyz"]]
    (target / "scores.json").write_text(json.dumps(kept))
    seg = sitk.GetArrayFromImage(sitk.ReadImage(str(done)))
    print(name, f"loss {loss:.3f}, voxels {np.bincount(seg.ravel()).tolist()}", flush=True)


for name, d in CASES.items():
    if not ONLY or name in ONLY:
        one(name, d)
