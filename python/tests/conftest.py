"""What the tests share: files of the repository, small networks, the program."""

from __future__ import annotations

import os
import pathlib
import subprocess

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import ampoule_ai as ampoule

ROOT = pathlib.Path(__file__).parents[2]
QUICK = ROOT / "assets/quick"

VOLUME_RECIPE = """
version = 2
[model]
name = "bright"
task = "segmentation"
[[input]]
name = "T1w"
[[preprocess]]
step = "orient"
to = "RAS"
[[preprocess]]
step = "z-score"
[[network]]
activation = "sigmoid"
[decide]
rule = "threshold"
threshold = 0.5
[[label]]
name = "bright"
value = 1
channel = 0
"""


def network(path, nodes, inputs, outputs, constants=(), recipe=None):
    """Writes an ONNX file; inputs and outputs are (name, type, shape)."""
    info = [[helper.make_tensor_value_info(*i) for i in side] for side in (inputs, outputs)]
    weights = [numpy_helper.from_array(v, k) for k, v in dict(constants).items()]
    graph = helper.make_graph(nodes, "test", *info, initializer=weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    if recipe is not None:
        helper.set_model_props(model, {"ampoule.recipe": recipe})
    onnx.checker.check_model(model)
    onnx.save(model, path)
    return path


def bright_volume(path, recipe=VOLUME_RECIPE):
    """A network of volumes: a smoothing convolution, scores above the mean."""
    weights = np.full((1, 1, 3, 3, 3), 1 / 27, np.float32)
    node = helper.make_node("Conv", ["x", "w"], ["y"], pads=[1] * 6)
    free = ["n", 1, "d", "h", "w"]
    return network(
        path,
        [node],
        [("x", TensorProto.FLOAT, free)],
        [("y", TensorProto.FLOAT, free)],
        {"w": weights},
        recipe,
    )


@pytest.fixture(scope="session")
def root():
    return ROOT


@pytest.fixture(scope="session")
def discs():
    """The small network of the repository with its recipe."""
    return ampoule.Model.open(QUICK / "discs.onnx", recipe=ROOT / "recipes/discs.toml", threads=1)


@pytest.fixture(scope="session")
def program():
    """The command line of this very source, or a skip."""
    path = os.environ.get("AMPOULE_PROGRAM")
    if not path or not pathlib.Path(path).is_file():
        pytest.skip("AMPOULE_PROGRAM names no program to compare with")

    def run(*arguments, check=True):
        command = [path, *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True)
        assert not check or done.returncode == 0, f"{command}: {done.stderr}"
        return done

    return run


@pytest.fixture(scope="session")
def bright(tmp_path_factory):
    """A network of volumes as a file, with its recipe inside."""
    return bright_volume(tmp_path_factory.mktemp("bright") / "bright.onnx")


@pytest.fixture(scope="session")
def scan(tmp_path_factory):
    """A NIfTI file with an oblique grid, scaled whole numbers and a ball in noise."""
    import nibabel

    random = np.random.default_rng(7)
    x, y, z = np.meshgrid(*(np.arange(n) for n in (18, 22, 15)), indexing="ij")
    ball = (x - 9) ** 2 + (y - 8) ** 2 + (z - 7) ** 2 < 25
    values = (1000 * ball + random.normal(0, 40, ball.shape)).astype(np.int16)
    turn = np.array([[-0.99, 0.1, 0.05], [0.1, 0.98, -0.12], [0.06, 0.12, 0.99]])
    affine = np.eye(4)
    affine[:3, :3] = np.linalg.qr(turn)[0] * [0.9, 1.1, 1.3]
    affine[:3, 3] = [12.5, -40.25, 7.0]
    image = nibabel.Nifti1Image(values, affine)
    image.header.set_slope_inter(0.25, -3.0)
    path = tmp_path_factory.mktemp("scan") / "scan.nii.gz"
    nibabel.save(image, path)
    return path
