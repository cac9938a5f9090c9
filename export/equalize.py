"""Rescale the channels of a float graph so that all channels of a tensor have the same range.

An int8 file has one scale per activation tensor. A channel with a hundredth of the largest range gets two or three
of 256 steps. Multiplying the channels of a convolution by constants, and dividing the weights that read them by the
same constants, changes no output of the float graph, and lets every channel use all steps (Nagel et al. 2019,
"Data-Free Quantization through Weight Equalization and Bias Correction"; here with ranges measured on photos).
"""

from collections.abc import Iterable, Iterator

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray
from onnx import helper, numpy_helper
from scipy.cluster.hierarchy import DisjointSet

Scales = NDArray[np.float32]  # (C,), the factor of each channel
Arrays = dict[str, NDArray[np.float32]]
PASSING = ("Relu", "ReduceMean", "GlobalAveragePool", "Reshape", "Flatten", "MaxPool")  # keep the order of channels
WEIGHTED_OPERATORS = ("Conv", "Gemm")
CAP = 6.0  # of ReLU6, the only Clip of training.networks
MARGIN = 4.0  # how far a channel may exceed its range on the photos before the cap clips it
MAX_FACTOR = 20.0  # of a capped channel, which may be silent on the photos; of others, the ratio to the largest is 100


def equalize(program: onnx.ModelProto, photos: Iterable[NDArray[np.uint8]]) -> None:
    """Rescale the weights, in place, for every group of tensors whose producers and consumers allow it."""
    groups = find_groups(program)
    if not groups:
        return
    ranges = measure_ranges(program, sorted({name for group in groups for name in group}), photos)
    tensors = {tensor.name: tensor for tensor in program.graph.initializer}
    arrays = {name: numpy_helper.to_array(tensor).copy() for name, tensor in tensors.items()}
    for group in groups:
        if len({len(ranges[name]) for name in group}) > 1:  # flattened: a channel became several
            continue
        rescale(program, group, compute_scales(program, group, ranges), arrays)
    for name, tensor in tensors.items():
        tensor.CopyFrom(numpy_helper.from_array(arrays[name], name))


def find_groups(program: onnx.ModelProto) -> list[set[str]]:
    """Return the sets of tensors that share their channels, without those that cannot be rescaled.

    An addition and the operators in `PASSING` have the channels of their inputs. A set can be rescaled if convolutions
    produce it, and convolutions and matrix products read it.
    """
    arrays = {tensor.name: numpy_helper.to_array(tensor) for tensor in program.graph.initializer}
    fixed = {value.name for value in (*program.graph.input, *program.graph.output)}
    channels = DisjointSet(
        {name for node in program.graph.node for name in (*node.input, *node.output)} - arrays.keys()
    )
    for node in program.graph.node:
        inputs = [name for name in node.input if name not in arrays]
        is_sum = node.op_type == "Add" and len(inputs) == len(node.input)
        if is_sum or node.op_type in PASSING or is_relu6(node, arrays):
            for name in inputs:
                channels.merge(name, node.output[0])
        elif not has_plain_channels(node, arrays):
            fixed.update(inputs, node.output)
        elif node.op_type == "Gemm":
            fixed.update(node.output)
    return [group for group in channels.subsets() if not group & fixed]


def is_relu6(node: onnx.NodeProto, arrays: Arrays) -> bool:
    return node.op_type == "Clip" and [float(arrays[name]) for name in node.input[1:] if name in arrays] == [0, CAP]


def has_plain_channels(node: onnx.NodeProto, arrays: Arrays) -> bool:
    """Return whether the node is a layer with a bias, and each channel goes to all output channels or to its own."""
    if node.op_type not in WEIGHTED_OPERATORS or len(node.input) < 3:
        return False
    if node.op_type == "Gemm":
        return get_attribute(node, "transB", 0) == 1
    groups, weight = get_attribute(node, "group", 1), arrays[node.input[1]]
    return groups == 1 or (groups == len(weight) and weight.shape[1] == 1)


def get_attribute(node: onnx.NodeProto, name: str, default: int) -> int:
    values = [helper.get_attribute_value(attribute) for attribute in node.attribute if attribute.name == name]
    return int(values[0]) if values else default


def measure_ranges(
    program: onnx.ModelProto, names: list[str], photos: Iterable[NDArray[np.uint8]]
) -> dict[str, Scales]:
    """Return the largest magnitude of each channel (C,) of the tensors on the photos, each (1, 3, S, S)."""
    largest: dict[str, Scales] = {}
    for values in read_activations(program, names, photos):
        for name, activations in values.items():
            magnitude = np.abs(activations).max(axis=tuple(i for i in range(activations.ndim) if i != 1))
            largest[name] = np.maximum(largest.get(name, 0), magnitude)
    return largest


def read_activations(
    program: onnx.ModelProto, names: list[str], photos: Iterable[NDArray[np.uint8]]
) -> Iterator[Arrays]:
    """Yield, for each photo (1, 3, S, S), the values of the named tensors of a float graph, (1, C, …) each."""
    probe = onnx.ModelProto()
    probe.CopyFrom(program)
    del probe.graph.output[:]
    probe.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(probe.SerializeToString(), options, providers=["CPUExecutionProvider"])
    for photo in photos:
        yield dict(zip(names, session.run(names, {"images": photo}), strict=True))


def compute_scales(program: onnx.ModelProto, group: set[str], ranges: dict[str, Scales]) -> Scales:
    """Return the factors (C,) that give all channels of a group the same range.

    If ReLU6 limits the group, this range is its cap divided by `MARGIN`, and each factor is in [1, `MAX_FACTOR`].
    """
    capped = [node.output[0] for node in program.graph.node if node.op_type == "Clip" and node.output[0] in group]
    largest: Scales = np.max([ranges[name] for name in capped or group], axis=0)
    factors: Scales
    if capped:
        factors = np.maximum(CAP / np.maximum(MARGIN * largest, CAP / MAX_FACTOR), 1)  # below 1 it would clip earlier
    else:
        factors = largest.mean() / np.maximum(largest, max(largest.max() / 100, np.finfo(np.float32).tiny))
    return factors


def rescale(program: onnx.ModelProto, group: set[str], scales: Scales, arrays: Arrays) -> None:
    """Multiply the channels of a group by the factors, in the weights that produce it and in those that read it."""
    for node in program.graph.node:
        if node.op_type not in WEIGHTED_OPERATORS:
            continue
        weight = arrays[node.input[1]]
        if node.input[0] in group:
            is_depthwise = get_attribute(node, "group", 1) > 1
            weight /= scales.reshape(-1, *[1] * (weight.ndim - (1 if is_depthwise else 2)))
        if node.output[0] in group:
            weight *= scales.reshape(-1, *[1] * (weight.ndim - 1))
            arrays[node.input[2]] *= scales
