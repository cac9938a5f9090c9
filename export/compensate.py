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
from onnx import numpy_helper

from export.graph import read_activations, read_attributes, read_tensors

Floats = NDArray[np.float32]
Int8s = NDArray[np.int8]
INT8_MAX, PAIR_MAX = 127, 128  # largest weight, and largest sum of two: see export.quantize.max_magnitudes
MAX_PATCHES = 196  # input patches of each photo and layer
DAMPING = 0.01  # added to the diagonal of the second moments, as a share of its mean


@dataclass(frozen=True)
class Convolution:
    """A convolution of a float graph, pointwise or depthwise: the names of its tensors, and how it cuts its input."""

    input: str
    weight: str
    bias: str
    groups: int
    kernel: tuple[int, int]
    strides: tuple[int, int]
    pads: tuple[int, int, int, int]  # top, left, bottom, right

    @property
    def is_depthwise(self) -> bool:
        return self.groups > 1


def compensate(floats: onnx.ModelProto, quantized: onnx.ModelProto, photos: Iterable[NDArray[np.uint8]]) -> None:
    """Replace the weights and biases of the convolutions of the quantized graph, in place."""
    layers = find_convolutions(floats, quantized)
    if not layers:
        return
    moments = measure_moments(floats, layers, photos)
    float_arrays, int8_arrays = read_tensors(floats.graph), read_tensors(quantized.graph)
    rounded: dict[str, NDArray[np.int8] | NDArray[np.int32]] = {}
    for layer in layers:
        weight, bias = float_arrays[layer.weight], float_arrays[layer.bias]
        scales, bias_scales = int8_arrays[f"{layer.weight}_scale"], int8_arrays[f"{layer.bias}_quantized_scale"]
        rows = split_groups(weight, layer)
        steps, shift = round_rows(rows, moments[layer.weight], scales, paired=not layer.is_depthwise)
        rounded[f"{layer.weight}_quantized"] = steps.reshape(weight.shape)
        rounded[f"{layer.bias}_quantized"] = np.rint((bias + shift) / bias_scales).astype(np.int32)
    for tensor in quantized.graph.initializer:
        if tensor.name in rounded:
            tensor.CopyFrom(numpy_helper.from_array(rounded[tensor.name], tensor.name))


def find_convolutions(floats: onnx.ModelProto, quantized: onnx.ModelProto) -> list[Convolution]:
    """Return the pointwise and depthwise convolutions that are quantized.

    In other kernels, the memory layout decides which weights are neighbors, so their sums cannot be bounded here.
    """
    shapes = {tensor.name: tuple(tensor.dims) for tensor in floats.graph.initializer}
    names = {tensor.name for tensor in quantized.graph.initializer}
    found = []
    for node in floats.graph.node:
        if node.op_type != "Conv" or not {f"{name}_quantized" for name in node.input[1:3]} <= names:
            continue
        attributes = read_attributes(node)
        _, channels, *kernel = shapes[node.input[1]]
        groups = attributes.get("group", 1)
        is_undilated = attributes.get("dilations", [1, 1]) == [1, 1]
        if is_undilated and ((groups > 1 and channels == 1) or (groups == 1 and kernel == [1, 1])):
            source, weight, bias = node.input
            strides, pads = tuple(attributes.get("strides", (1, 1))), tuple(attributes.get("pads", (0, 0, 0, 0)))
            found.append(Convolution(source, weight, bias, groups, tuple(kernel), strides, pads))
    return found


def split_groups(weight: Floats, layer: Convolution) -> Floats:
    """Return weights (O, I, h, w) as (G, O / G, I h w)."""
    return weight.reshape(layer.groups, len(weight) // layer.groups, -1)


def measure_moments(
    floats: onnx.ModelProto, layers: list[Convolution], photos: Iterable[NDArray[np.uint8]]
) -> dict[str, Floats]:
    """Return the second moments (G, I + 1, I + 1) of the input patches of each layer, by the name of its weights.

    The last row and column belong to the constant 1, which the bias multiplies.
    """
    names = sorted({layer.input for layer in layers})
    moments: dict[str, Floats] = {}
    for values in read_activations(floats, names, photos):
        for layer in layers:
            patches = cut_patches(values[layer.input][0], layer)  # (G, N, I)
            patches = np.concatenate([patches, np.ones_like(patches[:, :, :1])], axis=2)
            moments[layer.weight] = moments.get(layer.weight, 0) + patches.transpose(0, 2, 1) @ patches
    return moments


def cut_patches(values: Floats, layer: Convolution) -> Floats:
    """Return at most `MAX_PATCHES` input patches (G, N, I h w) of activations (I, H, W), at equal distances."""
    top, left, bottom, right = layer.pads
    padded = np.pad(values, ((0, 0), (top, bottom), (left, right)))
    windows = sliding_window_view(padded, layer.kernel, axis=(1, 2))[:, :: layer.strides[0], :: layer.strides[1]]
    flat = windows.reshape(len(values), -1, layer.kernel[0] * layer.kernel[1])  # (I, N, h w)
    flat = flat[:, :: -(-flat.shape[1] // MAX_PATCHES)]
    return flat if layer.is_depthwise else flat.transpose(2, 1, 0)


def round_rows(weight: Floats, moments: Floats, scales: Floats, *, paired: bool) -> tuple[Int8s, Floats]:
    """Round weights (G, R, I) to steps of `scales` (G R,). Return the steps and the change of each bias (G R,).

    `paired` bounds the sum of weights 0 and 1, 2 and 3 and so on, for CPUs that add two products in 16 bits.
    """
    groups, rows, size = weight.shape
    factor = factorize_inverse(moments)
    free = np.concatenate([weight, np.zeros((groups, rows, 1), np.float32)], axis=2) / scales.reshape(groups, rows, 1)
    steps = np.zeros((groups, rows, size), np.int8)
    for i in range(size):
        bounds = bound_second(steps[:, :, i - 1]) if paired and i % 2 else (-INT8_MAX, INT8_MAX)
        steps[:, :, i] = np.clip(np.rint(free[:, :, i]), *bounds)
        error = (free[:, :, i] - steps[:, :, i]) / factor[:, None, i, i]
        free[:, :, i:] -= error[:, :, None] * factor[:, None, i, i:]
    return steps, (free[:, :, size] * scales.reshape(groups, rows)).reshape(-1).astype(np.float32)


def factorize_inverse(moments: Floats) -> Floats:
    """Return the upper triangular Cholesky factor of the inverse of the damped moments (G, I + 1, I + 1)."""
    size = moments.shape[1] - 1
    damping = DAMPING * np.einsum("gii->g", moments[:, :size, :size]) / size + 1e-8  # (G,)
    damped = moments.astype(np.float64)
    damped[:, range(size), range(size)] += damping[:, None]  # not for the bias, which removes the mean error
    return np.linalg.cholesky(np.linalg.inv(damped)).transpose(0, 2, 1).astype(np.float32)


def bound_second(first: Int8s) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the lowest and highest steps of the second weights of pairs, whose first weights have the steps `first`.

    Two weights of the same sign may add up to at most `PAIR_MAX`.
    """
    steps = first.astype(np.int64)
    lowest = np.maximum(-INT8_MAX, -PAIR_MAX - np.minimum(steps, 0))
    highest = np.minimum(INT8_MAX, PAIR_MAX - np.maximum(steps, 0))
    return lowest, highest
