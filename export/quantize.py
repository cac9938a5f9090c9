"""Write the release candidates from the exported file: fp32, fp16 weights, and int8.

int8 is the smallest and fastest; fp16 has half the size of fp32 and the same accuracy. `export.verify` selects one.
"""

import math
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process
from tqdm import tqdm

from export.activation_map import add_activation_map
from export.compensate import compensate
from export.equalize import equalize
from export.files import CANDIDATES, MODEL, PRECISIONS, megabytes
from export.fp16 import convert_to_fp16
from export.graph import find_layers, read_tensors
from lambda_app.classifier import Classifier
from training import config
from training.manifest import read_manifest
from training.photo_dataset import Photos, Preprocessor, read_split, subsample

# Normalization, temperature, both softmaxes and familiarity stay in float32. In int8 they would save 2 kB, but put
# 4.2 % instead of 1.3 % of 547 test photos below the unknown threshold.
FLOAT_OPERATORS = ("Cast", "Sub", "Div", "MatMul", "Softmax", "ReduceLogSumExp")
# The first layers stay in float32: their errors grow through all others, and float32 costs them no measurable time.
MAX_FLOAT_LAYERS = 3
MAX_FLOAT_SHARE = 0.01  # of the weights of all layers
COMPENSATION_PHOTOS = 64  # at most
STEPS = ("equalize", "compensate")  # before and after the calibration
MakeSettings = Callable[[onnx.ModelProto], dict[str, Any]]  # returns the arguments of `quantize_static` that differ


class CalibrationPhotos(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime ships no types
    """Yield photos one at a time, preprocessed as in serving."""

    def __init__(self, photos: Photos) -> None:
        self.pixels = read_pixels(photos, "calibrate")

    def get_next(self) -> dict[str, NDArray[np.uint8]] | None:
        pixels = next(self.pixels, None)
        return None if pixels is None else {"images": pixels}


def main() -> None:
    params = config.load(config.Quantize)
    to_pixels = Preprocessor(Classifier.load(MODEL).metadata.image_size)
    photos = subsample(read_split(read_manifest(), "train", to_pixels), params.photos)
    CANDIDATES.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory() as folder:
        quantized = Path(folder) / "int8.onnx"
        quantize(MODEL, quantized, photos)
        for name, source in zip(PRECISIONS, (MODEL, MODEL, quantized), strict=True):
            write_candidate(name, source)


def write_candidate(name: str, source: Path) -> None:
    """Write a candidate with optimized operators, the metadata of the exported file, and the activation map."""
    path = CANDIDATES / f"{name}.onnx"
    optimize(source, path)
    if name == "fp16":
        convert_to_fp16(path)
    copy_metadata(MODEL, path)
    if not add_activation_map(path):
        print(f"{path}: no activation map, because the network does not end in global pooling and a linear layer")
    print(f"{path}: {megabytes(path):.2f} MB")


def use_defaults(_: onnx.ModelProto) -> dict[str, Any]:
    return {}


def quantize(
    source: Path,
    target: Path,
    photos: Photos,
    steps: Collection[str] = STEPS,
    make_settings: MakeSettings = use_defaults,
) -> None:
    """Quantize a float file to int8, with the ranges that the activations have on `photos`.

    export/README.md shows what each step contributes.
    """
    program = fold_batch_norms(source)
    if "equalize" in steps:
        equalize(program, read_pixels(photos, "equalize"))
    quantize_graph(program, target, photos, **make_settings(program))
    if "compensate" in steps:
        quantized = onnx.load(target)
        compensate(program, quantized, read_pixels(subsample(photos, COMPENSATION_PHOTOS), "compensate"))
        onnx.save(quantized, target)


def fold_batch_norms(source: Path) -> onnx.ModelProto:
    """Return the graph of a float file with batch norms folded into the layers before them, and with shapes."""
    with TemporaryDirectory() as folder:
        folded = Path(folder) / "folded.onnx"
        quant_pre_process(source, folded, skip_symbolic_shape=True)
        return onnx.load(folded)


def quantize_graph(program: onnx.ModelProto, target: Path, photos: Photos, **settings: Any) -> None:
    """Quantize a float graph: int8 weights with one scale per channel, uint8 activations with one per tensor.

    The first layers stay in float32, and so do the outputs of the last ones, because int8 would make two logits equal
    that differ by less than a step. `settings` replace arguments of ONNX Runtime's `quantize_static`.
    """
    options = {
        "per_channel": True,
        "activation_type": QuantType.QUInt8,
        "weight_type": QuantType.QInt8,
        "nodes_to_exclude": find_float_nodes(program, count_float_layers(program)),
        "extra_options": {
            "TensorQuantOverrides": build_weight_ranges(program),
            "OpTypesToExcludeOutputQuantization": ["Gemm"],
        },
    }
    with TemporaryDirectory() as folder:  # quantize_static writes files beside its input
        onnx.save(program, Path(folder) / "float.onnx")
        quantize_static(Path(folder) / "float.onnx", target, CalibrationPhotos(photos), **options | settings)


def find_float_nodes(program: onnx.ModelProto, layers: int) -> list[str]:
    """Return the names of the nodes that stay in float32: the first layers, and all `FLOAT_OPERATORS`."""
    first = [node.name for node in find_layers(program.graph)[:layers]]
    return first + [node.name for node in program.graph.node if node.op_type in FLOAT_OPERATORS]


def count_float_layers(program: onnx.ModelProto) -> int:
    """Return how many layers at the start stay in float32: as many as the limits allow, and at least one."""
    sizes = {tensor.name: math.prod(tensor.dims) for tensor in program.graph.initializer}
    weights = [sizes[layer.input[1]] for layer in find_layers(program.graph)]
    shares = np.cumsum(weights) / sum(weights)
    return max(1, int((shares[:MAX_FLOAT_LAYERS] < MAX_FLOAT_SHARE).sum()))


def read_pixels(photos: Photos, description: str) -> Iterator[NDArray[np.uint8]]:
    """Yield the photos (1, 3, S, S), preprocessed as in serving."""
    for i in tqdm(range(len(photos)), desc=description, unit="photo"):
        yield photos[i][0][None]


def build_weight_ranges(program: onnx.ModelProto) -> dict[str, list[dict[str, Any]]]:
    """Return, for each weight tensor and output channel, the range that the steps from -127 to 127 represent."""
    tensors = read_tensors(program.graph)
    ranges = {layer.input[1]: max_magnitudes(tensors[layer.input[1]]) for layer in find_layers(program.graph)}
    return {
        name: [{"axis": 0, "rmin": -magnitude, "rmax": magnitude} for magnitude in row] for name, row in ranges.items()
    }


def max_magnitudes(weights: NDArray[np.float32]) -> NDArray[np.float32]:
    """Map weights (O, I, …) to the magnitudes (O,) that 127 represents, so that no sum of two products overflows.

    x86 CPUs without VNNI (AVX2; many of Lambda's hosts) add two neighboring 8-bit products in 16 bits, so two weights
    of the same sign may add up to at most 128. If 127 represented the largest weight, an emulated Haswell would compute
    logits with an error of 12 % on 40 photos, and another class for one of them. With this bound, its logits equal
    those of a CPU with VNNI. Depthwise kernels multiply in 32 bits and need no bound.
    """
    rows = weights.reshape(len(weights), -1)  # (O, K)
    largest: NDArray[np.float32] = np.abs(rows).max(axis=1)
    if weights.ndim == 4 and weights.shape[1] == 1:
        return largest
    if weights.ndim == 4 and weights.shape[2:] != (1, 1):  # the memory layout decides which weights are neighbors
        pairs = np.sort(np.stack([rows, -rows]), axis=2)[:, :, None, -2:]  # (2, O, 1, 2): the two largest of each sign
    else:
        even = np.pad(rows, ((0, 0), (0, rows.shape[1] % 2))).reshape(len(rows), -1, 2)
        pairs = np.stack([even, -even])  # (2, O, K / 2, 2)
    pair_sums: NDArray[np.float32] = pairs.clip(min=0).sum(axis=3).max(axis=(0, 2))
    return np.maximum(largest, pair_sums)


def optimize(source: Path, target: Path) -> None:
    """Fuse operators in the file, instead of at each cold start.

    The level is `extended`, because `all` would also choose a memory layout for the CPU of this machine.
    """
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = str(target)
    ort.InferenceSession(source, options, providers=["CPUExecutionProvider"])


def copy_metadata(source: Path, target: Path) -> None:
    """Replace the metadata of `target` with that of `source`, because the tools in between add and drop keys."""
    program = onnx.load(target)
    del program.metadata_props[:]
    program.metadata_props.extend(onnx.load(source).metadata_props)
    onnx.save(program, target)


if __name__ == "__main__":
    main()
