"""Round the weights of an int8 graph one after another, so that later weights compensate the errors of earlier ones.

Rounding every weight to the nearest step does not minimize the error of their weighted sum. After a weight is rounded,
the bias and the weights of the same output channel that are not yet rounded change by the amounts that minimize the
squared error of the channel on photos (Frantar et al. 2022, "GPTQ"). This takes seconds and needs no labels.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from export.equalize import read_activations

Floats = NDArray[np.float32]
INT8_MAX, PAIR_MAX = 127, 128  # see export.quantize.max_magnitudes
POSITIONS = 196  # the most input patches of each photo and layer
DAMPING = 0.01  # added to the diagonal of the second moments, as a share of its mean


@dataclass(frozen=True)
class Convolution:
    """A convolution of a float graph, pointwise or depthwise, and the shape of its input patches."""

    source: str
    weight: str
    bias: str
    groups: int
    kernel: tuple[int, int]
    strides: tuple[int, int]
    pads: tuple[int, int, int, int]  # top, left, bottom, right

    @property
    def is_depthwise(self) -> bool:
        return self.groups > 1


def compensate(floats: onnx.ModelProto, program: onnx.ModelProto, photos: Iterable[NDArray[np.uint8]]) -> None:
    """Replace the weights and biases of the convolutions of the quantized graph, in place."""
    layers = find_convolutions(floats, program)
    if not layers:
        return
    moments = measure_moments(floats, layers, photos)
    arrays = {tensor.name: numpy_helper.to_array(tensor) for tensor in floats.graph.initializer}
    tensors = {tensor.name: tensor for tensor in program.graph.initializer}
    for layer in layers:
        scales = numpy_helper.to_array(tensors[f"{layer.weight}_scale"])
        weight, bias = arrays[layer.weight], arrays[layer.bias]
        steps, shift = round_rows(
            split_groups(weight, layer), moments[layer.weight], scales, paired=not layer.is_depthwise
        )
        bias_steps = (bias + shift) / numpy_helper.to_array(tensors[f"{layer.bias}_quantized_scale"])
        for name, array in (
            (layer.weight, steps.reshape(weight.shape)),
            (layer.bias, np.rint(bias_steps).astype(np.int32)),
        ):
            tensor = tensors[f"{name}_quantized"]
            tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))


def find_convolutions(floats: onnx.ModelProto, program: onnx.ModelProto) -> list[Convolution]:
    """Return the pointwise and depthwise convolutions that are quantized.

    In other kernels, the memory layout decides which weights are neighbors, so their sums cannot be bounded here.
    """
    shapes = {tensor.name: tuple(tensor.dims) for tensor in floats.graph.initializer}
    quantized = {tensor.name for tensor in program.graph.initializer}
    found = []
    for node in floats.graph.node:
        if node.op_type != "Conv" or not {f"{name}_quantized" for name in node.input[1:3]} <= quantized:
            continue
        a = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
        _, channels, *kernel = shapes[node.input[1]]
        groups = a.get("group", 1)
        is_plain = a.get("dilations", [1, 1]) == [1, 1]
        if is_plain and ((groups > 1 and channels == 1) or (groups == 1 and kernel == [1, 1])):
            source, weight, bias = node.input
            strides, pads = tuple(a.get("strides", (1, 1))), tuple(a.get("pads", (0, 0, 0, 0)))
            found.append(Convolution(source, weight, bias, groups, tuple(kernel), strides, pads))
    return found


def split_groups(weight: Floats, layer: Convolution) -> Floats:
    """Return weights (O, I, h, w) as (G, O / G, I h w)."""
    return weight.reshape(layer.groups, len(weight) // layer.groups, -1)


def measure_moments(
    floats: onnx.ModelProto, layers: list[Convolution], photos: Iterable[NDArray[np.uint8]]
) -> dict[str, Floats]:
    """Return the second moments (G, I + 1, I + 1) of the input patches of each layer, by its weight.

    The last row and column belong to the constant 1, which the bias multiplies.
    """
    names = sorted({layer.source for layer in layers})
    moments: dict[str, Floats] = {}
    for values in read_activations(floats, names, photos):
        for layer in layers:
            patches = cut_patches(values[layer.source][0], layer)  # (G, P, I)
            patches = np.concatenate([patches, np.ones_like(patches[:, :, :1])], axis=2)
            moments[layer.weight] = moments.get(layer.weight, 0) + patches.transpose(0, 2, 1) @ patches
    return moments


def cut_patches(values: Floats, layer: Convolution) -> Floats:
    """Return at most `POSITIONS` input patches (G, P, I h w) of activations (I, H, W)."""
    top, left, bottom, right = layer.pads
    padded = np.pad(values, ((0, 0), (top, bottom), (left, right)))
    windows = sliding_window_view(padded, layer.kernel, axis=(1, 2))[:, :: layer.strides[0], :: layer.strides[1]]
    flat = windows.reshape(len(values), -1, layer.kernel[0] * layer.kernel[1])  # (I, P, h w)
    flat = flat[:, :: -(-flat.shape[1] // POSITIONS)]
    return flat if layer.is_depthwise else flat.transpose(2, 1, 0)


def round_rows(weight: Floats, moments: Floats, scales: Floats, *, paired: bool) -> tuple[NDArray[np.int8], Floats]:
    """Round weights (G, R, I) to steps of `scales` (G R,). Return them and the change of each bias (G R,)."""
    groups, rows, size = weight.shape
    free = np.concatenate([weight, np.zeros((groups, rows, 1), np.float32)], axis=2) / scales.reshape(groups, rows, 1)
    damping = DAMPING * np.einsum("gii->g", moments[:, :size, :size]) / size + 1e-8  # (G,)
    damped = moments.astype(np.float64)
    damped[:, range(size), range(size)] += damping[:, None]  # not for the bias, which removes the mean error
    factor = np.linalg.cholesky(np.linalg.inv(damped)).transpose(0, 2, 1).astype(np.float32)  # upper triangular
    steps = np.zeros((groups, rows, size), np.int8)
    for i in range(size):
        low, high = np.full((groups, rows), -INT8_MAX), np.full((groups, rows), INT8_MAX)
        if paired and i % 2:
            before = steps[:, :, i - 1].astype(int)
            low, high = (
                np.maximum(low, -PAIR_MAX - np.minimum(before, 0)),
                np.minimum(high, PAIR_MAX - np.maximum(before, 0)),
            )
        steps[:, :, i] = np.clip(np.rint(free[:, :, i]), low, high)
        error = (free[:, :, i] - steps[:, :, i]) / factor[:, None, i, i]
        free[:, :, i:] -= error[:, :, None] * factor[:, None, i, i:]
    return steps, (free[:, :, size] * scales.reshape(groups, rows)).reshape(-1).astype(np.float32)
