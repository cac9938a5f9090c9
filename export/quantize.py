"""Stage 5: the exported file to the candidates for release: fp32 as it is, its weights in fp16, and int8 calibrated.

int8 is the smallest and the fastest, fp16 half of fp32 and as good; `export.verify` chooses.
"""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray
from onnx import numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process
from tqdm import tqdm

from export.convert import MODEL
from export.half import halve
from lambda_app.classifier import Classifier
from training import config
from training.data import Photos, Preprocessor, read_manifest, read_split, subsample

CANDIDATES = Path("artifacts/candidates")
PRECISIONS = ("fp32", "fp16", "int8")
# What stays in floats: Normalize before the network, temperature, both softmaxes and the familiarity behind it. In int8
# they put 4.2 % of 547 test photos below the unknown threshold instead of 1.3 %, and save 2 kB.
FLOAT = ("Cast", "Sub", "Div", "MatMul", "Softmax", "ReduceLogSumExp")
LAYERS = ("Conv", "Gemm")


class Calibration(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime ships no types
    """Photos one at a time, as they are served."""

    def __init__(self, photos: Photos) -> None:
        ordered = tqdm(range(len(photos)), desc="calibrate", unit="photo")
        self.pixels: Iterator[NDArray[np.uint8]] = (np.asarray(photos[i][0])[None] for i in ordered)

    def get_next(self) -> dict[str, NDArray[np.uint8]] | None:
        pixels = next(self.pixels, None)
        return None if pixels is None else {"images": pixels}


def main() -> None:
    params = config.load(config.Quantize)
    load = Preprocessor(Classifier.load(MODEL).metadata.image_size)
    photos = subsample(read_split(read_manifest(), "train", load), params.photos)
    CANDIDATES.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory() as folder:
        quantised = Path(folder) / "int8.onnx"
        quantize(MODEL, quantised, photos)
        for name, source in zip(PRECISIONS, (MODEL, MODEL, quantised), strict=True):
            path = CANDIDATES / f"{name}.onnx"
            optimise(source, path)
            if name == "fp16":
                halve(path)
            stamp_like(MODEL, path)
            print(f"{path}: {path.stat().st_size / 1e6:.2f} MB")


def quantize(source: Path, target: Path, photos: Photos) -> None:
    """Static: int8 weights with a scale a channel, uint8 activations with the ranges seen on `photos`.

    How far the difference of the two logits is off fp32's, EfficientNet-Lite0, as a share of its mean, 400 test photos:
    2.5 % as here; 2.8 % with the first layer in int8, which saves 3 kB. Against those 2.8 %: 2.3 % with the first three
    layers in floats, 9.5 % with the depthwise ones, 2.7 to 2.8 % with the last ones (6 to 9 MB) or 500 photos, 2.7 %
    with ranges by percentile (99.99, of 50 photos), 13 % with moving averages. With weights unbounded by `magnitudes`,
    on 547 test photos, entropy (60 photos) and int8 activations changed nothing (2.7 and 2.8 %). Weights of 7 bits
    (`reduce_range`): 5.8 %, and 0.3 points of accuracy on the whole test split.
    """
    prepared = target.with_stem("prepared")  # quantize_static writes beside it
    quant_pre_process(source, prepared, skip_symbolic_shape=True)  # folds batch norms, infers shapes
    program = onnx.load(prepared)
    first = next(node.name for node in program.graph.node if node.op_type in LAYERS)
    quantize_static(
        prepared,
        target,
        Calibration(photos),
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        nodes_to_exclude=[first, *(node.name for node in program.graph.node if node.op_type in FLOAT)],
        extra_options={"TensorQuantOverrides": weight_ranges(program)},
    )


def weight_ranges(program: onnx.ModelProto) -> dict[str, list[dict[str, Any]]]:
    """For each layer's weights, by output channel, which magnitude 127 stands for."""
    tensors = {tensor.name: numpy_helper.to_array(tensor) for tensor in program.graph.initializer}
    layers = [node for node in program.graph.node if node.op_type in LAYERS]
    ranges = {node.input[1]: magnitudes(tensors[node.input[1]]) for node in layers}
    return {name: [{"axis": 0, "rmin": -most, "rmax": most} for most in row] for name, row in ranges.items()}


def magnitudes(weights: NDArray[np.float32]) -> NDArray[np.float32]:
    """Weights of (O, I, …) -> (O,): what 127 has to stand for, that no two products overflow.

    x86 without VNNI (AVX2: many of Lambda's hosts) adds two neighbouring products of 8 bits in 16 bits, so two weights
    of a sign may come to 128 at most. Emulating a Haswell, 40 photos: with the largest weight at 127 the logits are off
    by 12 % and a class changes; like this they are those of this machine. Depthwise kernels multiply in 32 bits.
    """
    rows = weights.reshape(len(weights), -1)  # (O, K)
    largest: NDArray[np.float32] = np.abs(rows).max(axis=1)
    if weights.ndim == 4 and weights.shape[1] == 1:
        return largest
    if weights.ndim == 4 and weights.shape[2:] != (1, 1):  # which are neighbours depends on the memory layout
        pairs = np.sort(np.stack([rows, -rows]), axis=2)[:, :, None, -2:]  # (2, O, 1, 2) the two largest of a sign
    else:
        even = np.pad(rows, ((0, 0), (0, rows.shape[1] % 2))).reshape(len(rows), -1, 2)
        pairs = np.stack([even, -even])  # (2, O, K / 2, 2)
    together: NDArray[np.float32] = pairs.clip(min=0).sum(axis=3).max(axis=(0, 2))
    return np.maximum(largest, together)


def optimise(source: Path, target: Path) -> None:
    """Fuse once here, not at each cold start. Level `all` would also choose a memory layout for this machine's CPU."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = str(target)
    ort.InferenceSession(source, options, providers=["CPUExecutionProvider"])


def stamp_like(source: Path, target: Path) -> None:
    """The metadata of `source`, whatever the tools on the way added or dropped."""
    program = onnx.load(target)
    del program.metadata_props[:]
    program.metadata_props.extend(onnx.load(source).metadata_props)
    onnx.save(program, target)


if __name__ == "__main__":
    main()
