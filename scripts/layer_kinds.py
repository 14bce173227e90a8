#!/usr/bin/env python3
"""Makes a small network for each kind of layer, so that a slow kind shows before a whole network has it.

    python3 scripts/layer_kinds.py FOLDER
    scripts/zoo.sh FOLDER --quick --output PAGE.md      # each kind side by side with other engines

Weights are random, and each layer is repeated a few times: what an engine does with inputs and outputs counts less so.
Needs onnx and numpy (tools/peers.sh installs them into .venv-bench).
"""

import sys
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


class Network:
    """A chain of nodes; `x` is the value that the next one reads."""

    def __init__(self, name, shape):
        self.name, self.shape, self.x = name, shape, "x"
        self.nodes, self.constants = [], []
        self.random = np.random.default_rng(0)

    def constant(self, values):
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(values), name))
        return name

    def weights(self, dims, fan_in):
        return self.constant((self.random.standard_normal(dims) * np.sqrt(2 / fan_in)).astype(np.float32))

    def full(self, dims, value):
        return self.constant(np.full(dims, value, np.float32))

    def node(self, kind, *others, inputs=None, **attributes):
        """A node of the present value and `others`, or of `inputs`."""
        self.x, read = f"v{len(self.nodes)}", inputs or [self.x, *others]
        self.nodes.append(helper.make_node(kind, read, [self.x], **attributes))
        return self.x

    def conv(self, inputs, outputs, kernel, group=1, relu=True, stride=1, dilation=1, pad=None):
        rank = len(kernel)
        pads = [k // 2 * dilation for k in kernel] if pad is None else [pad] * rank
        weights = self.weights([outputs, inputs // group, *kernel], inputs // group * np.prod(kernel))
        self.node("Conv", weights, self.full([outputs], 0.1), group=group, strides=[stride] * rank,
                  dilations=[dilation] * rank, pads=pads + pads)
        if relu:
            self.node("Relu")

    def up(self, inputs, outputs, kernel, pad=0):
        """A transposed convolution with a stride of 2."""
        weights, rank = self.weights([inputs, outputs, *kernel], inputs), len(kernel)
        self.node("ConvTranspose", weights, self.full([outputs], 0.1), strides=[2] * rank, pads=[pad] * 2 * rank)

    def resize(self, rank, **attributes):
        self.node("Resize", "", self.constant(np.array([1, 1] + [2] * rank, np.float32)), **attributes)

    def linear(self, inputs, outputs):
        return self.node("MatMul", self.weights([inputs, outputs], inputs))

    def save(self, folder):
        inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, self.shape)]
        outputs = [helper.make_tensor_value_info(self.x, TensorProto.FLOAT, None)]
        graph = helper.make_graph(self.nodes, self.name, inputs, outputs, self.constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
        onnx.save(onnx.shape_inference.infer_shapes(model), folder / f"{self.name}.onnx")


def pooled(layer, kind, rank):
    """A layer that enlarges, and the pooling that makes it fit the next one."""
    def both(n):
        layer(n)
        n.node(kind, kernel_shape=[2] * rank, strides=[2] * rank)
    return both


def normalised(n, channels):
    n.conv(channels, channels, [1, 1], relu=False)
    n.node("InstanceNormalization", n.full([channels], 1.1), n.full([channels], 0.1))
    n.node("LeakyRelu", alpha=0.01)


def group_normalised(n, channels, side, groups):
    n.conv(channels, channels, [1, 1], relu=False)
    n.node("Reshape", n.constant(np.array([1, groups, -1])))
    n.node("InstanceNormalization", n.full([groups], 1), n.full([groups], 0))
    n.node("Reshape", n.constant(np.array([1, channels, side, side])))
    n.node("Mul", n.full([1, channels, 1, 1], 1.1))
    n.node("Add", n.full([1, channels, 1, 1], 0.1))
    n.node("Relu")


def gated(n, channels, function):
    """`x·f(x)` after a pointwise convolution."""
    n.conv(channels, channels, [1, 1], relu=False)
    x = n.x
    function(n)
    n.node("Mul", inputs=[x, n.x])


def excited(n, channels):
    """Squeeze and excitation."""
    x = n.x
    n.node("GlobalAveragePool")
    n.conv(channels, channels // 4, [1, 1])
    n.conv(channels // 4, channels, [1, 1], relu=False)
    n.node("Sigmoid")
    n.node("Mul", inputs=[x, n.x])
    n.conv(channels, channels, [1, 1])


def spatially_attended(n, channels):
    """The spatial half of CBAM."""
    n.conv(channels, channels, [1, 1])
    x = n.x
    most = n.node("ReduceMax", n.constant(np.array([1])), keepdims=1)
    n.node("ReduceMean", inputs=[x, n.constant(np.array([1]))], keepdims=1)
    n.node("Concat", inputs=[most, n.x], axis=1)
    n.conv(2, 1, [7, 7], relu=False)
    n.node("Sigmoid")
    n.node("Mul", inputs=[x, n.x])


def dense(n, channels, growth):
    """A layer of DenseNet, brought back to its width."""
    x = n.x
    n.conv(channels, growth, [3, 3])
    n.node("Concat", inputs=[x, n.x], axis=1)
    n.conv(channels + growth, channels, [1, 1])


def preactivated(n, channels):
    n.node("Relu")
    n.node("BatchNormalization", *(n.full([channels], v) for v in (1.1, 0.1, 0.1, 1.2)))
    n.conv(channels, channels, [3, 3], relu=False)


def attended(n, tokens, width, heads):
    """Self-attention without the projection after it."""
    x, each = n.x, width // heads

    def part(order):
        n.node("MatMul", inputs=[x, n.weights([width, width], width)])
        n.node("Reshape", n.constant(np.array([1, tokens, heads, each])))
        return n.node("Transpose", perm=order)

    queries, keys, values = part([0, 2, 1, 3]), part([0, 2, 3, 1]), part([0, 2, 1, 3])
    n.node("MatMul", inputs=[queries, keys])
    n.node("Mul", n.constant(np.float32(each**-0.5)))
    n.node("Softmax", axis=-1)
    n.node("MatMul", inputs=[n.x, values])
    n.node("Transpose", perm=[0, 2, 1, 3])
    n.node("Reshape", n.constant(np.array([1, tokens, width])))


def layer_normalised(n, width):
    n.node("LayerNormalization", n.full([width], 1.1), n.full([width], 0.1), axis=-1)
    n.linear(width, width)


def recurrent(n, kind, gates, inputs, hidden):
    weights, recurrence = n.weights([1, gates * hidden, inputs], inputs), n.weights([1, gates * hidden, hidden], hidden)
    n.node(kind, weights, recurrence, n.full([1, 2 * gates * hidden], 0), hidden_size=hidden)
    n.node("Squeeze", n.constant(np.array([1])))
    n.linear(hidden, inputs)


def after_pointwise(n, channels, kind, *constants, **attributes):
    n.conv(channels, channels, [1, 1], relu=False)
    n.node(kind, *constants, **attributes)


# Name: shape of the input, how often, layer.
KINDS = {
    "conv1d_k7_64": ([1, 64, 4096], 4, lambda n: n.conv(64, 64, [7])),
    "conv1d_k15_dilated_32": ([1, 32, 8192], 4, lambda n: n.conv(32, 32, [15], dilation=4)),
    "conv1d_k3_12": ([1, 12, 5000], 4, lambda n: n.conv(12, 12, [3])),
    "conv_dilated2_128": ([1, 128, 32, 32], 4, lambda n: n.conv(128, 128, [3, 3], dilation=2)),
    "conv_dilated12_256": ([1, 256, 32, 32], 4, lambda n: n.conv(256, 256, [3, 3], dilation=12)),
    "conv_k5_64": ([1, 64, 32, 32], 4, lambda n: n.conv(64, 64, [5, 5])),
    "conv_k7_32": ([1, 32, 64, 64], 4, lambda n: n.conv(32, 32, [7, 7])),
    "conv_1x7_7x1_128": ([1, 128, 17, 17], 4, lambda n: (n.conv(128, 128, [1, 7]), n.conv(128, 128, [7, 1]))),
    "conv_stem_224": ([1, 3, 224, 224], 1, lambda n: n.conv(3, 64, [7, 7], stride=2)),
    "conv_patches_224": ([1, 3, 224, 224], 1, lambda n: n.conv(3, 384, [16, 16], stride=16, pad=0)),
    "conv_stride2_nearest_64": ([1, 64, 64, 64], 4, lambda n: (n.conv(64, 64, [3, 3], stride=2), n.resize(2, mode="nearest"))),
    "groups_of_2": ([1, 64, 56, 56], 4, lambda n: n.conv(64, 64, [3, 3], group=32)),
    "groups_of_4": ([1, 128, 56, 56], 4, lambda n: n.conv(128, 128, [3, 3], group=32)),
    "groups_of_8": ([1, 256, 28, 28], 4, lambda n: n.conv(256, 256, [3, 3], group=32)),
    "groups_of_16": ([1, 512, 14, 14], 4, lambda n: n.conv(512, 512, [3, 3], group=32)),
    "groups_of_24": ([1, 288, 14, 14], 4, lambda n: n.conv(288, 288, [3, 3], group=12)),
    "groups_of_32": ([1, 1024, 7, 7], 4, lambda n: n.conv(1024, 1024, [3, 3], group=32)),
    "groups_of_4_3d": ([1, 32, 32, 32, 32], 4, lambda n: n.conv(32, 32, [3, 3, 3], group=8)),
    "depthwise_k7_96": ([1, 96, 56, 56], 4, lambda n: n.conv(96, 96, [7, 7], group=96)),
    "depthwise_k13_128": ([1, 128, 28, 28], 4, lambda n: n.conv(128, 128, [13, 13], group=128)),
    "depthwise_k31_128": ([1, 128, 28, 28], 4, lambda n: n.conv(128, 128, [31, 31], group=128)),
    "depthwise_k7_dilated_64": ([1, 64, 56, 56], 4, lambda n: n.conv(64, 64, [7, 7], group=64, dilation=3)),
    "depthwise_3d_k3_32": ([1, 32, 32, 32, 32], 4, lambda n: n.conv(32, 32, [3, 3, 3], group=32)),
    "depthwise_3d_k5_32": ([1, 32, 24, 24, 24], 4, lambda n: n.conv(32, 32, [5, 5, 5], group=32)),
    "conv3d_k3_16": ([1, 16, 48, 48, 48], 3, lambda n: n.conv(16, 16, [3, 3, 3])),
    "conv3d_k5_8": ([1, 8, 48, 48, 48], 2, lambda n: n.conv(8, 8, [5, 5, 5])),
    "conv3d_k1_64": ([1, 64, 32, 32, 32], 3, lambda n: n.conv(64, 64, [1, 1, 1])),
    "conv3d_1x3x3_32": ([1, 32, 16, 64, 64], 3, lambda n: n.conv(32, 32, [1, 3, 3])),
    "conv3d_3x1x1_32": ([1, 32, 16, 64, 64], 3, lambda n: n.conv(32, 32, [3, 1, 1])),
    "conv3d_first_and_last": ([1, 1, 64, 64, 64], 2, lambda n: (n.conv(1, 16, [3, 3, 3]), n.conv(16, 1, [1, 1, 1]))),
    "transposed_k2_64": ([1, 64, 64, 64], 4, pooled(lambda n: n.up(64, 64, [2, 2]), "MaxPool", 2)),
    "transposed_k4_64": ([1, 64, 64, 64], 4, pooled(lambda n: n.up(64, 64, [4, 4], pad=1), "AveragePool", 2)),
    "transposed_3d_32": ([1, 32, 24, 24, 24], 4, pooled(lambda n: n.up(32, 32, [2, 2, 2]), "MaxPool", 3)),
    "bilinear_64": ([1, 64, 64, 64], 4, pooled(
        lambda n: n.resize(2, mode="linear", coordinate_transformation_mode="align_corners"), "AveragePool", 2)),
    "trilinear_32": ([1, 32, 24, 24, 24], 4, pooled(lambda n: n.resize(3, mode="linear"), "AveragePool", 3)),
    "max_pool_3x3_64": ([1, 64, 56, 56], 4, lambda n: n.node("MaxPool", kernel_shape=[3, 3], pads=[1] * 4)),
    "average_pool_3x3_64": ([1, 64, 56, 56], 4, lambda n: n.node("AveragePool", kernel_shape=[3, 3], pads=[1] * 4)),
    "pixel_shuffle_32": ([1, 32, 64, 64], 4, pooled(
        lambda n: (n.conv(32, 128, [3, 3], relu=False), n.node("DepthToSpace", blocksize=2, mode="CRD")), "AveragePool", 2)),
    "instance_norm_64": ([1, 64, 128, 128], 4, lambda n: normalised(n, 64)),
    "group_norm_64": ([1, 64, 64, 64], 4, lambda n: group_normalised(n, 64, 64, 8)),
    "batch_norm_before_64": ([1, 64, 56, 56], 4, lambda n: preactivated(n, 64)),
    "prelu_32": ([1, 32, 128, 128], 4, lambda n: after_pointwise(n, 32, "PRelu", n.full([32, 1, 1], 0.2))),
    "elu_32": ([1, 32, 128, 128], 4, lambda n: after_pointwise(n, 32, "Elu")),
    "mish_32": ([1, 32, 128, 128], 4, lambda n: gated(n, 32, lambda n: (n.node("Softplus"), n.node("Tanh")))),
    "silu_64": ([1, 64, 64, 64], 4, lambda n: gated(n, 64, lambda n: n.node("Sigmoid"))),
    "softmax_of_channels_16": ([1, 16, 128, 128], 4, lambda n: after_pointwise(n, 16, "Softmax", axis=1)),
    "squeeze_excitation_64": ([1, 64, 56, 56], 4, lambda n: excited(n, 64)),
    "spatial_attention_32": ([1, 32, 64, 64], 4, lambda n: spatially_attended(n, 32)),
    "dense_64": ([1, 64, 56, 56], 4, lambda n: dense(n, 64, 32)),
    "linear_1_row": ([1, 512], 4, lambda n: (n.linear(512, 512), n.node("Relu"))),
    "linear_64_rows": ([64, 512], 4, lambda n: (n.linear(512, 512), n.node("Relu"))),
    "linear_tokens": ([1, 196, 512], 4, lambda n: (n.linear(512, 512), n.node("Relu"))),
    "layer_norm_256": ([1, 1024, 256], 4, lambda n: layer_normalised(n, 256)),
    "attention_256_tokens": ([1, 256, 256], 4, lambda n: attended(n, 256, 256, 8)),
    "attention_1024_tokens": ([1, 1024, 128], 2, lambda n: attended(n, 1024, 128, 4)),
    "lstm_128": ([200, 1, 64], 2, lambda n: recurrent(n, "LSTM", 4, 64, 128)),
    "gru_128": ([200, 1, 64], 2, lambda n: recurrent(n, "GRU", 3, 64, 128)),
}


def main():
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for name, (shape, times, layer) in KINDS.items():
        network = Network(name, shape)
        for _ in range(times):
            layer(network)
        network.save(folder)
        print(folder / f"{name}.onnx")


main()
