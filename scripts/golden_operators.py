"""Operators as ONNX Runtime computes them: crates/engine/tests/golden/operators/*.onnx.

Needs onnx, onnxruntime and numpy. Each file is a model of one node; the constants `given N` and `expected N`, which no node
reads, are its inputs and the outputs that ONNX Runtime gives.
"""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

OUT = Path(__file__).parent.parent / "crates/engine/tests/golden/operators"
rng = np.random.default_rng(3)


def floats(*dims):
    return rng.normal(0, 1, dims).astype(np.float32)


def case(name, op, given, constants=(), outputs=1, order=None, opset=20, **attributes):
    """`order` lists the node's inputs: g0, g1 … given ones, c0, c1 … constants, "" for none."""
    g = [f"g{i}" for i in range(len(given))]
    c = [f"c{i}" for i in range(len(constants))]
    node = helper.make_node(op, order or g + c, [f"y{i}" for i in range(outputs)], **attributes)
    kind = lambda a: helper.np_dtype_to_tensor_dtype(a.dtype)
    graph = helper.make_graph(
        [node],
        name,
        [helper.make_tensor_value_info(n, kind(a), a.shape) for n, a in zip(g, given)],
        [helper.make_empty_tensor_value_info(f"y{i}") for i in range(outputs)],
        [numpy_helper.from_array(np.asarray(a), n) for n, a in zip(c, constants)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    found = session.run(None, dict(zip(g, given)))
    model = onnx.shape_inference.infer_shapes(model)
    for o, a in zip(model.graph.output, found):
        o.CopyFrom(helper.make_tensor_value_info(o.name, kind(a), a.shape))
    for label, arrays in (("given", given), ("expected", found)):
        for i, a in enumerate(arrays):
            model.graph.initializer.append(numpy_helper.from_array(a, f"{label} {i}"))
    OUT.mkdir(parents=True, exist_ok=True)
    onnx.save(model, OUT / f"{name}.onnx")


i64 = lambda *v: np.array(v, np.int64)
image = floats(2, 5, 6, 7)
for kind in ("Mean", "Sum", "Max", "Min", "L1", "L2", "LogSumExp", "SumSquare", "Prod"):
    case(f"reduce_{kind.lower()}_spatial", f"Reduce{kind}", [image], [i64(2, 3)], keepdims=1)
    case(f"reduce_{kind.lower()}_channels", f"Reduce{kind}", [image], [i64(1)], keepdims=0)
case("reduce_log_sum", "ReduceLogSum", [np.abs(image)], [i64(-1)], keepdims=0)
for e in (2.0, 0.5, -0.5, 3.0, 1.7):
    case(f"pow_{e}", "Pow", [np.abs(image)], [np.float32(e)])
pads = i64(0, 1, 2, 0, 0, 2, 1, 3)
for mode in ("constant", "reflect", "edge", "wrap"):
    case(f"pad_{mode}", "Pad", [image], [pads, np.float32(0.25)], mode=mode)
case("prelu", "PRelu", [image], [floats(5, 1, 1)])
case("gather_scalar", "Gather", [image], [np.array(-2, np.int64)], axis=1)
case("gather_list", "Gather", [image], [i64(4, 0, 2, 2)], axis=1)
case("gather_matrix", "Gather", [image], [np.array([[0, 3], [6, 1]], np.int64)], axis=3)
case("gather_computed", "Gather", [image, i64(3, -1, 0)], axis=2)
case("gather_elements", "GatherElements", [image, rng.integers(-6, 6, (2, 5, 3, 7))], axis=2)
case("gather_nd", "GatherND", [image, rng.integers(0, 2, (3, 2))])
case("gather_nd_batch", "GatherND", [image, rng.integers(0, 5, (2, 4, 1))], batch_dims=1)
for reduction in ("none", "add", "mul", "max", "min"):
    places = np.stack([rng.permutation(2)[:1] * 0 + k for k in range(2)])
    case(f"scatter_nd_{reduction}", "ScatterND", [image, places, floats(2, 5, 6, 7)], reduction=reduction)
    index = np.argsort(floats(2, 5, 6, 7), axis=1)[:, :3]
    case(f"scatter_elements_{reduction}", "ScatterElements", [image, index, floats(2, 3, 6, 7)], axis=1, reduction=reduction)
case("arg_max", "ArgMax", [image], axis=1, keepdims=0)
case("arg_min_last", "ArgMin", [np.round(image)], axis=3, select_last_index=1)
case("log_softmax", "LogSoftmax", [image * 20 + 500], axis=1)
case("cumsum", "CumSum", [image], [np.array(2, np.int64)], exclusive=1, reverse=1)
case("top_k", "TopK", [image], [i64(3)], outputs=2, axis=1)
case("depth_to_space_dcr", "DepthToSpace", [floats(2, 12, 3, 4)], blocksize=2, mode="DCR")
case("depth_to_space_crd", "DepthToSpace", [floats(2, 12, 3, 4)], blocksize=2, mode="CRD")
case("space_to_depth", "SpaceToDepth", [floats(2, 3, 4, 6)], blocksize=2)
case("tile", "Tile", [image], [i64(1, 3, 2, 1)])
case("trilu", "Trilu", [floats(2, 5, 7)], [np.array(-1, np.int64)], upper=0)
for name, equation, shapes in (
    ("attention", "blxd,blyd->blxy", [(2, 3, 4, 5), (2, 3, 6, 5)]),
    ("weights", "bhxy,bhyd->bhxd", [(2, 3, 4, 5), (2, 3, 5, 6)]),
    ("positions", "bhwc,hkc->bhwk", [(2, 3, 4, 5), (3, 6, 5)]),
    ("ellipsis", "...ij,...jk->...ik", [(2, 1, 3, 4), (1, 5, 4, 6)]),
    ("chain", "ij,jk,kl->il", [(2, 3), (3, 4), (4, 5)]),
    ("diagonal", "ii->i", [(4, 4)]),
):
    case(f"einsum_{name}", "Einsum", [floats(*s) for s in shapes], equation=equation)
grid = (floats(2, 4, 3, 2) * 0.8).astype(np.float32)
for mode in ("linear", "nearest", "cubic"):
    for outside in ("zeros", "border", "reflection"):
        for align in (0, 1):
            # Beyond the border only where engines agree on what cubic filters do there.
            where = np.clip(grid, -0.9, 0.9) if mode == "cubic" else grid
            case(f"grid_sample_{mode}_{outside}_{align}", "GridSample", [image, where], mode=mode, padding_mode=outside, align_corners=align)
case("grid_sample_3d", "GridSample", [floats(1, 3, 4, 5, 6), floats(1, 2, 3, 4, 3)], mode="linear", padding_mode="border")
x = floats(7, 2, 5)
for direction, d in (("forward", 1), ("reverse", 1), ("bidirectional", 2)):
    state = [floats(d, 2, 6), floats(d, 2, 6)]
    case(f"lstm_{direction}", "LSTM", [x], [floats(d, 24, 5), floats(d, 24, 6), floats(d, 48), *state], outputs=3,
         order=["g0", "c0", "c1", "c2", "", "c3", "c4"], direction=direction, hidden_size=6)
    for linear in (0, 1):
        case(f"gru_{direction}_{linear}", "GRU", [x], [floats(d, 18, 5), floats(d, 18, 6), floats(d, 36)], outputs=2,
             direction=direction, hidden_size=6, linear_before_reset=linear)
    case(f"rnn_{direction}", "RNN", [x], [floats(d, 6, 5), floats(d, 6, 6), floats(d, 12)], outputs=2, direction=direction, hidden_size=6)
case("conv_1d", "Conv", [floats(2, 4, 9)], [floats(6, 4, 3), floats(6)], pads=[1, 1], strides=[2])
case("conv_1d_grouped", "Conv", [floats(2, 4, 9)], [floats(8, 1, 3), floats(8)], group=4)
case("conv_two_filters_a_channel", "Conv", [image], [floats(10, 1, 3, 3), floats(10)], group=5, pads=[1, 1, 1, 1])
case("conv_groups_of_two", "Conv", [floats(1, 6, 5, 5)], [floats(9, 2, 3, 3)], group=3)
case("max_pool_1d", "MaxPool", [floats(2, 4, 9)], kernel_shape=[3], strides=[2], pads=[1, 1])
case("average_pool_1d", "AveragePool", [floats(2, 4, 9)], kernel_shape=[3], strides=[2], pads=[1, 1], count_include_pad=1)
for mode in ("nearest", "linear", "cubic"):
    for rule in ("half_pixel", "align_corners", "asymmetric", "pytorch_half_pixel"):
        case(f"resize_{mode}_{rule}", "Resize", [image], [np.array([1, 1, 1.5, 2], np.float32)], order=["g0", "", "c0"],
             mode=mode, coordinate_transformation_mode=rule)
case("resize_channels", "Resize", [image], [np.array([1, 2, 2, 1], np.float32)], order=["g0", "", "c0"], mode="nearest",
     coordinate_transformation_mode="asymmetric", nearest_mode="floor")
case("where", "Where", [image > 0, image, floats(5, 1, 1)])
case("mod", "Mod", [image, np.abs(floats(7)) + 0.5], fmod=1)
case("clip_computed", "Clip", [image, np.array(-0.5, np.float32)], order=["g0", "g1"])
case("mean_of_three", "Mean", [image, floats(5, 1, 1), floats(7)])
case("matmul_vector", "MatMul", [floats(2, 4, 5), floats(5)])
case("gemm_computed", "Gemm", [floats(6, 4), floats(5, 6), floats(5)], alpha=0.5, beta=2.0, transA=1, transB=1)
