#!/usr/bin/env python3
"""Small models in the forms that exporters and ONNX Runtime's optimizer write, with what ONNX Runtime computes.

Each case is a model file, its inputs and its outputs (TensorProto, as in ONNX's own test data), in
crates/onnx/tests/golden/exporters/NAME/. Where ONNX Runtime lacks an operator, the onnx package's reference evaluator
is the oracle, and the case says so by its prefix `ref_`.

Run with the environment of scripts/oracles.sh:  .venv/bin/python scripts/golden_exporters.py
"""

import pathlib
import shutil

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

OUT = pathlib.Path(__file__).resolve().parent.parent / "crates/onnx/tests/golden/exporters"
F, I64, U8, I8, F16 = TensorProto.FLOAT, TensorProto.INT64, TensorProto.UINT8, TensorProto.INT8, TensorProto.FLOAT16
rng = np.random.default_rng(24)
MS = "com.microsoft"


def rand(*shape, dtype=np.float32, scale=1.0):
    return (scale * rng.standard_normal(shape)).astype(dtype)


def node(op, inputs, outputs, domain="", **attributes):
    return helper.make_node(op, inputs.split(), outputs.split(), domain=domain, **attributes)


def const(**arrays):
    return [numpy_helper.from_array(np.asarray(a), name) for name, a in arrays.items()]


def save(name, nodes, inputs, outputs, constants=(), opset=17, functions=(), domains=(), values=()):
    """Writes one case; inputs are arrays by name, outputs (name, type) pairs."""
    infos = [helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(a.dtype), a.shape) for n, a in inputs.items()]
    outs = [helper.make_tensor_value_info(n, t, None) for n, t in outputs]
    graph = helper.make_graph(list(nodes), name, infos, outs, list(constants), value_info=list(values))
    used = {MS: 1} if any(n.domain == MS for n in nodes) else {}
    opsets = [helper.make_opsetid("", opset)] + [helper.make_opsetid(d, v) for d, v in {**used, **dict(domains)}.items()]
    model = helper.make_model(graph, opset_imports=opsets, functions=list(functions), ir_version=10)
    if name.startswith("ref_"):
        results = ReferenceEvaluator(model).run(None, dict(inputs))
    else:
        options = ort.SessionOptions()
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.log_severity_level = 3
        session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        results = session.run(None, dict(inputs))
    folder = OUT / name
    folder.mkdir(parents=True)
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    for kind, arrays in (("input", inputs.values()), ("output", results)):
        for i, a in enumerate(arrays):
            (folder / f"{kind}_{i}.pb").write_bytes(numpy_helper.from_array(np.asarray(a)).SerializeToString())


def activations():
    x, b = {"x": rand(2, 3, 8)}, const(b=rand(8))
    save("ms_gelu", [node("Gelu", "x", "y", MS)], x, [("y", F)])
    save("ms_bias_gelu", [node("BiasGelu", "x b", "y", MS)], x, [("y", F)], b)
    save("ms_fast_gelu", [node("FastGelu", "x b", "y", MS)], x, [("y", F)], b)
    save("ms_quick_gelu", [node("QuickGelu", "x", "y", MS, alpha=1.702)], x, [("y", F)])


def convolutions():
    x = {"x": rand(1, 3, 7, 6)}
    c = const(w=rand(4, 3, 3, 3), b=rand(4))
    pads = [1, 1, 1, 1]
    for name, params in (("Relu", []), ("LeakyRelu", [0.2]), ("Clip", [-0.5, 0.5]), ("HardSigmoid", [0.2, 0.4]), ("Sigmoid", [])):
        extra = {"activation_params": params} if params else {}
        save(f"ms_fused_conv_{name.lower()}", [node("FusedConv", "x w b", "y", MS, pads=pads, activation=name, **extra)], x, [("y", F)], c)
    z = const(z=rand(1, 4, 7, 6))
    save("ms_fused_conv_sum", [node("FusedConv", "x w b z", "y", MS, pads=pads, activation="Relu")], x, [("y", F)], c + z)
    folded = [node("Mul", "w s", "w2", ""), node("Identity", "b", "b2"), node("Conv", "x w2 b2", "y", pads=pads)]
    save("conv_of_computed_weights", folded, x, [("y", F)], c + const(s=rand(4, 1, 1, 1)))
    bn = const(g=rand(3), h=rand(3), m=rand(3), v=np.abs(rand(3)) + 0.5, one=np.float32(1.5))
    computed = [node("Mul", "g one", "g2"), node("BatchNormalization", "x g2 h m v", "y")]
    save("batch_norm_of_computed_scale", computed, x, [("y", F)], bn)


def products():
    x = {"x": rand(2, 5, 8)}
    save("ms_fused_matmul", [node("FusedMatMul", "x w", "y", MS, transB=1, alpha=0.25)], x, [("y", F)], const(w=rand(6, 8)))
    two = {"a": rand(2, 8, 5), "b": rand(2, 8, 4)}
    save("ms_fused_matmul_left", [node("FusedMatMul", "a b", "y", MS, transA=1)], two, [("y", F)])
    g = {"x": rand(3, 8)}
    save("ms_fused_gemm", [node("FusedGemm", "x w b", "y", MS, activation="Relu", transB=1)], g, [("y", F)], const(w=rand(4, 8), b=rand(4)))


def norms():
    x = {"x": rand(2, 4, 8)}
    c = const(s=rand(2, 4, 8), g=rand(8), h=rand(8), b=rand(8))
    skip = node("SkipLayerNormalization", "x s g h b", "y", MS, epsilon=1e-5)
    save("ms_skip_layer_norm", [skip], x, [("y", F)], c)
    both = node("SkipLayerNormalization", "x s g h b", "y u1 u2 sum", MS, epsilon=1e-5)
    both.output[1] = both.output[2] = ""
    save("ms_skip_layer_norm_sum", [both], x, [("y", F), ("sum", F)], c)
    rms = node("SkipSimplifiedLayerNormalization", "x s g", "y", MS, epsilon=1e-5)
    save("ms_skip_rms_norm", [rms], x, [("y", F)], c[:2])
    save("simplified_layer_norm", [node("SimplifiedLayerNormalization", "x g", "y", axis=-1, epsilon=1e-5)], x, [("y", F)], c[1:2])
    save("rms_norm", [node("RMSNormalization", "x g", "y", axis=-1)], x, [("y", F)], c[1:2], opset=23)
    image = {"x": rand(2, 4, 5, 6)}
    save("mean_variance", [node("MeanVarianceNormalization", "x", "y", axes=[2, 3])], image, [("y", F)])
    save("lrn", [node("LRN", "x", "y", size=3, alpha=0.5, beta=0.6, bias=1.5)], image, [("y", F)])
    save("lp_norm", [node("LpNormalization", "x", "y", axis=1, p=2)], image, [("y", F)])
    last = {"x": rand(2, 5, 6, 8)}
    group = node("GroupNorm", "x g h", "y", MS, groups=4, epsilon=1e-5, activation=1, channels_last=1)
    c = const(g=rand(8), h=rand(8))
    # ONNX Runtime has it on GPUs only; the same by hand.
    by_hand = [
        node("Transpose", "x", "t", perm=[0, 3, 1, 2]),
        node("GroupNormalization", "t g h", "n", num_groups=4, epsilon=1e-5),
        node("Sigmoid", "n", "s"), node("Mul", "n s", "m"), node("Transpose", "m", "y", perm=[0, 2, 3, 1]),
    ]
    save("ms_group_norm", by_hand, last, [("y", F)], c, opset=21)
    model = onnx.load(OUT / "ms_group_norm/model.onnx")
    del model.graph.node[:]
    model.graph.node.append(group)
    model.opset_import.append(helper.make_opsetid(MS, 1))
    onnx.save(model, OUT / "ms_group_norm/model.onnx")
    old = node("GroupNormalization", "x g h", "y", num_groups=2)
    save("ref_group_norm_18", [old], {"x": rand(2, 4, 5)}, [("y", F)], const(g=rand(2), h=rand(2)), opset=18)


def attention():
    x = {"x": rand(2, 5, 8)}
    c = const(w=rand(8, 24, scale=0.3), b=rand(24))
    save("ms_attention", [node("Attention", "x w b", "y", MS, num_heads=2)], x, [("y", F)], c)
    c = const(w=rand(8, 20, scale=0.3), b=rand(20))
    save("ms_attention_sizes", [node("Attention", "x w b", "y", MS, num_heads=2, qkv_hidden_sizes=[6, 6, 8])], x, [("y", F)], c)
    qkv = {"q": rand(2, 5, 8), "k": rand(2, 7, 8), "v": rand(2, 7, 8)}
    save("ms_multi_head_attention", [node("MultiHeadAttention", "q k v b", "y", MS, num_heads=2)], qkv, [("y", F)], const(b=rand(24)))
    four = {"q": rand(2, 2, 5, 4), "k": rand(2, 2, 7, 4), "v": rand(2, 2, 7, 4), "m": rand(5, 7)}
    save("attention_23", [node("Attention", "q k v m", "y")], four, [("y", F)], opset=23)
    save("attention_23_flat", [node("Attention", "q k v", "y", q_num_heads=2, kv_num_heads=2)], qkv, [("y", F)], opset=23)


def integers():
    x = {"x": rand(2, 3, 6, 5)}
    w = rng.integers(-63, 64, (4, 3, 3, 3)).astype(np.int8)
    c = const(w=w, wz=np.int8(0), s=np.float32(0.02))
    steps = [
        node("DynamicQuantizeLinear", "x", "q qs qz"),
        node("ConvInteger", "q w qz wz", "i", pads=[1, 1, 1, 1]),
        node("Cast", "i", "f", to=F), node("Mul", "qs s", "t"), node("Mul", "f t", "y"),
    ]
    save("dynamic_conv", steps, x, [("y", F)], c)
    m = {"x": rand(4, 16)}
    w = rng.integers(0, 256, (16, 5)).astype(np.uint8)
    c = const(w=w, wz=np.uint8(119), s=np.float32(0.02))
    steps = [
        node("DynamicQuantizeLinear", "x", "q qs qz"), node("MatMulInteger", "q w qz wz", "i"),
        node("Cast", "i", "f", to=F), node("Mul", "qs s", "t"), node("Mul", "f t", "y"),
    ]
    save("dynamic_matmul", steps, m, [("y", F)], c)
    # A matrix of one zero point for each column, as quantizers of ONNX Runtime write it.
    c = const(w=rng.integers(0, 256, (16, 5)).astype(np.uint8), z=rng.integers(100, 140, 5).astype(np.uint8), s=(rand(5) ** 2 + 0.01), b=rand(5))
    save("ms_dynamic_matmul", [node("DynamicQuantizeMatMul", "x w s z b", "y", MS)], m, [("y", F)], c)
    qx = {"x": rng.integers(0, 256, (4, 16)).astype(np.uint8)}
    c = c + const(xs=np.float32(0.05), xz=np.uint8(117))
    save("ms_matmul_integer_to_float", [node("MatMulIntegerToFloat", "x w xs s xz z b", "y", MS)], qx, [("y", F)], c)
    zeros = {"x": np.zeros((2, 3), np.float32)}
    save("dynamic_zeros", [node("DynamicQuantizeLinear", "x", "q s z"), node("Cast", "q", "y", to=F)], zeros, [("y", F), ("s", F)])


def blocks():
    w = rng.integers(-8, 8, (6, 32)).astype(np.int8)
    c = const(w=w, s=np.abs(rand(6, 4)) + 0.01, z=rng.integers(-2, 3, (6, 4)).astype(np.int8))
    steps = [node("DequantizeLinear", "w s z", "d", axis=1, block_size=8), node("MatMul", "d x", "y")]
    save("blocked_weights", steps, {"x": rand(32, 3)}, [("y", F)], c, opset=21)
    packed = helper.make_tensor("w", TensorProto.INT4, (6, 32), w.flatten().tolist())
    save("blocked_weights_int4", steps[:1] + steps[1:], {"x": rand(32, 3)}, [("y", F)], [packed, c[1]] + [helper.make_tensor("z", TensorProto.INT4, (6, 4), [0] * 24)], opset=21)


def quantized():
    x = {"x": rng.integers(0, 256, (1, 3, 8, 8)).astype(np.uint8)}
    c = const(
        # Weights of seven bits: without VNNI, sums of two products of ONNX Runtime saturate.
        xs=np.float32(0.02), xz=np.uint8(120), w=rng.integers(-63, 64, (4, 3, 3, 3)).astype(np.int8),
        ws=np.abs(rand(4)) * 0.01 + 0.01, wz=np.zeros(4, np.int8), ys=np.float32(0.1), yz=np.uint8(100),
        b=rng.integers(-500, 500, 4).astype(np.int32),
    )
    conv = node("QLinearConv", "x xs xz w ws wz ys yz b", "q", pads=[1, 1, 1, 1])
    back = node("DequantizeLinear", "q ys yz", "y")
    save("qlinear_conv", [conv, back], x, [("y", F)], c)
    pool = node("QLinearGlobalAveragePool", "x xs xz ys yz", "q", MS, channels_last=0)
    save("qlinear_pool", [pool, back], x, [("y", F)], c)
    nhwc = {"x": rng.integers(0, 256, (1, 8, 8, 3)).astype(np.uint8)}
    conv = node("QLinearConv", "x xs xz w ws wz ys yz b", "q", MS, pads=[1, 1, 1, 1], channels_last=1, kernel_shape=[3, 3])
    save("qlinear_conv_channels_last", [conv, back], nhwc, [("y", F)], c)
    both = {"p": x["x"], "r": rng.integers(0, 256, (1, 3, 8, 8)).astype(np.uint8)}
    add = node("QLinearAdd", "p xs xz r ys yz ys yz", "q", MS)
    save("qlinear_add", [add, back], both, [("y", F)], c)
    concat = node("QLinearConcat", "ys yz p xs xz r ys yz", "q", MS, axis=1)
    save("qlinear_concat", [concat, back], both, [("y", F)], c)
    wide = [node("QuantizeLinear", "f s z", "q", MS), node("DequantizeLinear", "q s z", "y", MS)]
    save("ms_quantize_16", wide, {"f": rand(2, 5)}, [("y", F)], const(s=np.float32(0.001), z=np.uint16(32768)))


def layouts():
    """What tf2onnx writes: images with channels last, turned before every convolution and back after it."""
    x = {"x": rand(1, 9, 7, 3)}
    c = const(w=rand(4, 3, 3, 3), b=rand(4), w2=rand(2, 4, 3, 3), k=rand(4), ax=np.array([1, 2], np.int64))
    steps = [
        node("Transpose", "x", "t", perm=[0, 3, 1, 2]), node("Conv", "t w b", "u", auto_pad="SAME_LOWER", strides=[2, 2]),
        node("Transpose", "u", "v", perm=[0, 2, 3, 1]), node("Add", "v k", "a"), node("Relu", "a", "r"),
        node("Transpose", "r", "s", perm=[0, 3, 1, 2]), node("Conv", "s w2", "o", pads=[1, 1, 1, 1]),
        node("Transpose", "o", "p", perm=[0, 2, 3, 1]), node("ReduceMean", "p", "m", axes=[1, 2], keepdims=0),
        node("Softmax", "m", "y", axis=-1),
    ]
    save("tf_channels_last", steps, x, [("y", F)], c)


def functions():
    def act(domain, alpha_default=None, body=None, name="Act", inputs=("a",), outputs=("b",), attributes=(), defaults=()):
        return helper.make_function(domain, name, list(inputs), list(outputs), body, [helper.make_opsetid("", 17)], list(attributes), list(defaults))

    x = {"x": rand(2, 3, 4)}
    silu = act("my", body=[node("Sigmoid", "a", "s"), node("Mul", "a s", "b")])
    save("function", [node("Act", "x", "u", "my"), node("Act", "u", "y", "my")], x, [("y", F)], functions=[silu], domains={"my": 1})
    leaky = helper.make_node("LeakyRelu", ["a"], ["b"])
    reference = onnx.AttributeProto(name="alpha", type=onnx.AttributeProto.FLOAT, ref_attr_name="slope")
    leaky.attribute.append(reference)
    outer = act("my", name="Outer", body=[node("Inner", "a", "c", "my", slope=0.4), node("Neg", "c", "b")])
    outer.opset_import.append(helper.make_opsetid("my", 1))
    inner = act("my", name="Inner", body=[leaky], attributes=["slope"])
    save("function_in_function", [node("Outer", "x", "y", "my")], x, [("y", F)], functions=[outer, inner], domains={"my": 1})
    default = act("my", name="Default", body=[leaky], defaults=[helper.make_attribute("slope", 0.3)])
    save("function_default", [node("Default", "x", "y", "my")], x, [("y", F)], functions=[default], domains={"my": 1})


def control():
    x = {"x": rand(1, 3, 4, 4)}
    out = [helper.make_tensor_value_info("o", F, None)]

    def branch(op, inputs="x", outputs="o", constants=()):
        return helper.make_graph([node(op, inputs, outputs)], op, [], out, list(constants))

    either = node("If", "c", "y", then_branch=branch("Relu"), else_branch=branch("Neg"))
    save("if_constant", [either], x, [("y", F)], const(c=np.array(False)))
    # What torch.jit.script writes for squeeze(1): a branch over a size.
    squeeze = helper.make_graph([node("Squeeze", "x ax", "o")], "s", [], out, const(ax=np.array([1], np.int64)))
    size = [
        node("Shape", "x", "sh"), node("Gather", "sh one", "n", axis=0), node("Equal", "n one", "c"),
        node("If", "c", "y", then_branch=squeeze, else_branch=branch("Identity")),
    ]
    save("if_over_a_size", size, {"x": rand(1, 1, 4, 4)}, [("y", F)], const(one=np.int64(1)))
    nested = helper.make_graph(
        [node("Shape", "x", "sh2"), node("Size", "sh2", "r"), node("Equal", "r four", "c2"),
         node("If", "c2", "o", then_branch=branch("Abs"), else_branch=branch("Neg"))], "n", [], out)
    save("if_in_if", [node("If", "c", "y", then_branch=nested, else_branch=branch("Neg"))], x, [("y", F)], const(c=np.array(True), four=np.int64(4)))
    info = helper.make_tensor_value_info
    body = helper.make_graph(
        [node("Identity", "cin", "cout"), node("Mul", "v w", "v2"), node("Cast", "i", "fi", to=F), node("Add", "v2 fi", "v3"), node("Identity", "v3", "row")],
        "body", [info("i", I64, []), info("cin", TensorProto.BOOL, []), info("v", F, None)],
        [info("cout", TensorProto.BOOL, []), info("v3", F, None), info("row", F, None)], const(w=np.float32(0.5)))
    loop = node("Loop", "m  x", "y rows", body=body)
    loop.input[:] = ["m", "", "x"]
    save("loop", [loop], x, [("y", F), ("rows", F)], const(m=np.int64(3)))


def halves():
    x = {"x": rand(1, 3, 8, 8, dtype=np.float16)}
    c = const(w=rand(4, 3, 3, 3, dtype=np.float16), b=rand(4, dtype=np.float16))
    save("float16", [node("Conv", "x w b", "c", pads=[1, 1, 1, 1]), node("Relu", "c", "y")], x, [("y", F16)], c)


if __name__ == "__main__":
    shutil.rmtree(OUT, ignore_errors=True)
    for group in (activations, convolutions, products, norms, attention, integers, blocks, quantized, layouts, functions, control, halves):
        group()
    print(len(list(OUT.iterdir())), "cases")
