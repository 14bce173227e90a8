"""A whole-body CT through two folds of nnU-Net within 4 GiB: `big_ct.py AMPOULE WORK [--spacing 1.5] [--limit 4G] [--run]`.

WORK gets a results folder of nnU-Net v2 (3d_fullres, 25 labels, two folds, mirroring on three axes, patches of 128³) with narrow
networks of random weights, and a CT of 512 x 512 x 300 voxels of 0.78 x 0.78 x 1.5 mm. `plan` and, with --run, `run` get the limit; what was planned
and the process's own highest resident memory are printed, and the exit code is 1 where the plan or the limit was exceeded. `--spacing` is
what the folder was trained at: memory follows from it. `--features 32` has the weights of nnU-Net's own width, and hours of
multiplications. Needs PyTorch, dynamic-network-architectures and NumPy.
"""

import argparse
import gzip
import json
import os
import pathlib
import shutil
import struct
import subprocess
import sys

import numpy as np
import torch
from dynamic_network_architectures.architectures.unet import PlainConvUNet

LABELS, STAGES, SIZE = 25, 6, (512, 512, 300)


def architecture(features):
    widths = [min(features * 2**i, 10 * features) for i in range(STAGES)]
    return {
        "n_stages": STAGES, "features_per_stage": widths, "conv_op": "torch.nn.modules.conv.Conv3d",
        "kernel_sizes": [[3, 3, 3]] * STAGES, "strides": [[1, 1, 1]] + [[2, 2, 2]] * (STAGES - 1),
        "n_conv_per_stage": [2] * STAGES, "n_conv_per_stage_decoder": [2] * (STAGES - 1), "conv_bias": True,
        "norm_op": "torch.nn.modules.instancenorm.InstanceNorm3d", "norm_op_kwargs": {"eps": 1e-05, "affine": True},
        "dropout_op": None, "dropout_op_kwargs": None, "nonlin": "torch.nn.LeakyReLU", "nonlin_kwargs": {"inplace": True},
    }  # fmt: skip


def folder(at, spacing, features):
    """The results folder that a user of nnU-Net has."""
    arch = architecture(features)
    kept = {k: v for k, v in arch.items() if k not in ("conv_op", "norm_op", "nonlin")}
    settings = {"data_identifier": "nnUNetPlans_3d_fullres", "preprocessor_name": "DefaultPreprocessor", "batch_size": 2}
    resampling = "resample_data_or_seg_to_shape"
    for what, order, seg in (("data", 3, False), ("seg", 1, True), ("probabilities", 1, False)):
        settings[f"resampling_fn_{what}"] = resampling
        settings[f"resampling_fn_{what}_kwargs"] = {"is_seg": seg, "order": order, "order_z": 0, "force_separate_z": None}
    settings |= {
        "patch_size": [128] * 3, "median_image_size_in_voxels": [300.0, 266.0, 266.0], "spacing": [spacing] * 3,
        "normalization_schemes": ["CTNormalization"], "use_mask_for_norm": [False], "batch_dice": False,
        "architecture": {
            "network_class_name": "dynamic_network_architectures.architectures.unet.PlainConvUNet", "arch_kwargs": arch,
            "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
        },
    }  # fmt: skip
    intensities = {"0": {"max": 3000.0, "mean": 20.0, "median": 30.0, "min": -1024.0, "percentile_00_5": -900.0, "percentile_99_5": 900.0, "std": 300.0}}
    plans = {
        "dataset_name": "Dataset904_Body", "plans_name": "nnUNetPlans", "original_median_spacing_after_transp": [spacing] * 3,
        "original_median_shape_after_transp": [300, 266, 266], "image_reader_writer": "SimpleITKIO",
        "transpose_forward": [0, 1, 2], "transpose_backward": [0, 1, 2], "configurations": {"3d_fullres": settings},
        "experiment_planner_used": "ExperimentPlanner", "label_manager": "LabelManager",
        "foreground_intensity_properties_per_channel": intensities,
    }  # fmt: skip
    labels = {"background": 0} | {f"organ{i}": i for i in range(1, LABELS)}
    dataset = {"channel_names": {"0": "CT"}, "labels": labels, "numTraining": 2, "file_ending": ".nii.gz"}
    at.mkdir(parents=True)
    (at / "plans.json").write_text(json.dumps(plans))
    (at / "dataset.json").write_text(json.dumps(dataset))
    for fold in (0, 1):
        torch.manual_seed(fold)
        network = PlainConvUNet(
            1, num_classes=LABELS, deep_supervision=True, conv_op=torch.nn.Conv3d, norm_op=torch.nn.InstanceNorm3d,
            nonlin=torch.nn.LeakyReLU, **kept,
        )  # fmt: skip
        (at / f"fold_{fold}").mkdir()
        saved = {
            "network_weights": network.state_dict(), "trainer_name": "nnUNetTrainer", "inference_allowed_mirroring_axes": (0, 1, 2),
            "init_args": {"configuration": "3d_fullres", "fold": fold},
        }  # fmt: skip
        torch.save(saved, at / f"fold_{fold}" / "checkpoint_final.pth")


def scan(path):
    """A body of soft tissue and bones in air, as int16."""
    x, y, z = (np.linspace(-1, 1, n, dtype=np.float32) for n in SIZE)
    inside = (x[:, None] / 0.8) ** 2 + (y[None] / 0.55) ** 2 < 1
    slice_ = np.where(inside, 40.0, -1000.0)
    slice_[(x[:, None] ** 2 + (y[None] - 0.35) ** 2) < 0.01] = 600.0
    noise = np.random.default_rng(1).normal(0, 10, SIZE[:2])
    values = np.round(slice_ + noise).astype("<i2")
    header = bytearray(352)
    struct.pack_into("<i", header, 0, 348)
    struct.pack_into("<8h", header, 40, 3, *SIZE, 1, 1, 1, 1)
    struct.pack_into("<hh", header, 70, 4, 16)
    struct.pack_into("<8f", header, 76, 1, 0.78, 0.78, 1.5, 1, 1, 1, 1)
    struct.pack_into("<ff", header, 108, 352, 1)
    header[123] = 10
    struct.pack_into("<h", header, 254, 1)
    for row, mm in enumerate((0.78, 0.78, 1.5)):
        struct.pack_into("<4f", header, 280 + 16 * row, *[mm if i == row else 0.0 for i in range(4)])
    header[344:348] = b"n+1\0"
    with gzip.open(path, "wb", compresslevel=1) as out:
        out.write(bytes(header))
        for k in range(SIZE[2]):
            out.write(np.roll(values, k, axis=1).T.tobytes())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("ampoule")
    parser.add_argument("work", type=pathlib.Path)
    parser.add_argument("--spacing", type=float, default=1.5)
    parser.add_argument("--features", type=int, default=4)
    parser.add_argument("--limit", default="4G")
    parser.add_argument("--run", action="store_true")
    args = parser.parse_args()
    model = args.work / f"results_{args.spacing}_{args.features}/Dataset904_Body/nnUNetTrainer__nnUNetPlans__3d_fullres"
    if not model.exists():
        folder(model, args.spacing, args.features)
    image = args.work / "body_0000.nii.gz"
    if not image.exists():
        scan(image)
    limits = ["--max-ram", args.limit]
    asked = subprocess.run([args.ampoule, "plan", model, image, "--json", "--no-seconds", *limits], capture_output=True, text=True)
    if asked.returncode:
        sys.exit(f"plan: exit code {asked.returncode}: {asked.stdout[-400:]} {asked.stderr.strip()}")
    [case] = json.loads(asked.stdout)["cases"]
    planned = case["peak_memory_bytes"]
    print(f"{LABELS} labels at {args.spacing} mm, two folds, limit {args.limit}: planned {planned / 2**20:.0f} MiB; {case}", flush=True)
    if not args.run:
        return
    out = args.work / "out"
    shutil.rmtree(out, ignore_errors=True)
    process = subprocess.Popen([args.ampoule, "run", model, image, "-o", out, *limits])
    _, status, used = os.wait4(process.pid, 0)
    peak = used.ru_maxrss << 10
    print(f"exit code {os.waitstatus_to_exitcode(status)}, highest resident memory {peak / 2**20:.0f} MiB, {used.ru_utime + used.ru_stime:.0f} s of CPU")
    sys.exit(status != 0 or peak > planned)


if __name__ == "__main__":
    main()
