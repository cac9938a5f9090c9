"""Rescale the channels of a float graph so that all channels of a tensor have the same range.

An int8 file has one scale per activation tensor. A channel with a hundredth of the largest range gets two or three
of 256 steps. Multiplying the channels of a convolution by constants, and dividing the weights that read them by the
same constants, changes no output of the float graph, and lets every channel use all steps (Nagel et al. 2019,
"Data-Free Quantization through Weight Equalization and Bias Correction"; here with ranges measured on photos).
"""

from collections.abc import Iterable

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper
from scipy.cluster.hierarchy import DisjointSet

from export.graph import WEIGHTED_OPERATORS, Arrays, find_layers, read_activations, read_attributes, read_tensors

Channels = NDArray[np.float32]  # (C,), one value per channel
# Operators whose output has the channels of the input, in the same order.
PASSING_OPERATORS = ("Relu", "ReduceMean", "GlobalAveragePool", "Reshape", "Flatten", "MaxPool")
CAP = 6.0  # upper limit of ReLU6, the only Clip in training.networks
MARGIN = 4.0  # multiple of its range on the photos that a rescaled channel may reach before ReLU6 clips it
MAX_FACTOR = 20.0  # upper limit of the factors in a group with ReLU6, for channels that are almost zero on the photos
MAX_RATIO = 100.0  # without ReLU6, a smaller range counts as 1 / MAX_RATIO of the largest one


def equalize(program: onnx.ModelProto, photos: Iterable[NDArray[np.uint8]]) -> None:
    """Rescale the weights, in place, for every group of tensors whose producers and consumers allow it."""
    groups = find_groups(program)
    if not groups:
        return
    ranges = measure_ranges(program, sorted({name for group in groups for name in group}), photos)
    arrays = {name: array.copy() for name, array in read_tensors(program.graph).items()}
    for group in groups:
        if len({len(ranges[name]) for name in group}) == 1:  # Flatten turns each channel into several
            rescale(program, group, compute_factors(program, group, ranges), arrays)
    for tensor in program.graph.initializer:
        tensor.CopyFrom(numpy_helper.from_array(arrays[tensor.name], tensor.name))


def find_groups(program: onnx.ModelProto) -> list[set[str]]:
    """Return, in a fixed order, the sets of tensors that share their channels and can be rescaled.

    An addition and `PASSING_OPERATORS` have the channels of their inputs. A set can be rescaled if convolutions produce
    it, and convolutions and matrix products read it.
    """
    arrays = read_tensors(program.graph)
    fixed = {value.name for value in (*program.graph.input, *program.graph.output)}
    channels = DisjointSet(
        {name for node in program.graph.node for name in (*node.input, *node.output)} - arrays.keys()
    )
    for node in program.graph.node:
        inputs = [name for name in node.input if name not in arrays]
        is_sum = node.op_type == "Add" and len(inputs) == len(node.input)
        if is_sum or node.op_type in PASSING_OPERATORS or is_relu6(node, arrays):
            for name in inputs:
                channels.merge(name, node.output[0])
        elif not has_plain_channels(node, arrays):
            fixed.update(inputs, node.output)
        elif node.op_type == "Gemm":
            fixed.update(node.output)
    # Sorted, because the order of a set of strings differs by process, and rounding makes the weights that two groups
    # rescale depend on the order.
    return sorted((group for group in channels.subsets() if not group & fixed), key=min)


def is_relu6(node: onnx.NodeProto, arrays: Arrays) -> bool:
    return node.op_type == "Clip" and [float(arrays[name]) for name in node.input[1:] if name in arrays] == [0, CAP]


def has_plain_channels(node: onnx.NodeProto, arrays: Arrays) -> bool:
    """Return whether the node is a dense or depthwise layer with a bias.

    Each input channel then goes to all output channels, or only to its own.
    """
    if node.op_type not in WEIGHTED_OPERATORS or len(node.input) < 3:
        return False
    attributes = read_attributes(node)
    if node.op_type == "Gemm":
        return bool(attributes.get("transB") == 1)
    groups, weight = int(attributes.get("group", 1)), arrays[node.input[1]]
    return groups == 1 or (groups == len(weight) and weight.shape[1] == 1)


def measure_ranges(
    program: onnx.ModelProto, names: list[str], photos: Iterable[NDArray[np.uint8]]
) -> dict[str, Channels]:
    """Return the largest magnitude of each channel (C,) of the tensors on the photos, each (1, 3, S, S)."""
    ranges: dict[str, Channels] = {}
    for values in read_activations(program, names, photos):
        for name, activations in values.items():
            magnitude = np.abs(activations).max(axis=tuple(i for i in range(activations.ndim) if i != 1))
            ranges[name] = np.maximum(ranges.get(name, 0), magnitude)
    return ranges


def compute_factors(program: onnx.ModelProto, group: set[str], ranges: dict[str, Channels]) -> Channels:
    """Return the factors (C,) that give all channels of a group the same range.

    If ReLU6 limits the group, this range is its cap divided by `MARGIN`, and each factor is in [1, `MAX_FACTOR`].
    """
    capped = [node.output[0] for node in program.graph.node if node.op_type == "Clip" and node.output[0] in group]
    largest: Channels = np.max([ranges[name] for name in capped or group], axis=0)
    factors: Channels
    if capped:
        factors = np.maximum(CAP / np.maximum(MARGIN * largest, CAP / MAX_FACTOR), 1)  # below 1 it would clip earlier
    else:
        factors = largest.mean() / np.maximum(largest, max(largest.max() / MAX_RATIO, np.finfo(np.float32).tiny))
    return factors


def rescale(program: onnx.ModelProto, group: set[str], factors: Channels, arrays: Arrays) -> None:
    """Multiply the channels of a group by the factors, in the weights that produce it and in those that read it."""
    for layer in find_layers(program.graph):
        weight = arrays[layer.input[1]]
        if layer.input[0] in group:
            is_depthwise = read_attributes(layer).get("group", 1) > 1
            weight /= factors.reshape(-1, *[1] * (weight.ndim - (1 if is_depthwise else 2)))
        if layer.output[0] in group:
            weight *= factors.reshape(-1, *[1] * (weight.ndim - 1))
            arrays[layer.input[2]] *= factors
