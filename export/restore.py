"""Restore the checkpoint and the calibration from a released file, for a clone that lacks the outputs of the training.

`python -m export.restore FILE` writes `artifacts/checkpoint.pt` and `artifacts/calibration.json` from an fp32 or fp16
file and `artifacts/metrics/train.json`. Then `convert`, `quantize` and `verify` run without a training. The weights
have the precision of the file.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import TensorProto
from torch import nn

from export.files import RELEASED
from export.fp16 import HALF
from export.graph import Arrays, read_tensors
from lambda_app.classifier import Classifier
from lambda_app.metadata import Metadata
from training.calibration import CALIBRATION, Calibration
from training.figures import read_figures
from training.interruption import UserError
from training.model import CHECKPOINT
from training.networks import BatchNorm, Network, build_network
from training.state import save_atomically


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path, nargs="?", default=RELEASED, help="fp32 or fp16 (default: %(default)s)")
    path = parser.parse_args(arguments).file
    metadata = Classifier.load(path).metadata
    trained = read_figures("train")
    if trained["run_id"] != metadata.run_id:
        raise UserError(
            f"artifacts/metrics/train.json describes run {trained['run_id']}; expected {metadata.run_id}, which {path} "
            "names. Check out the commit of the model file"
        )
    arrays = read_arrays(path)
    network = restore_network(arrays, metadata)
    trained["epoch"] = trained.pop("best")
    save_atomically(trained | {"state_dict": network.state_dict()}, CHECKPOINT)
    familiar = tuple(arrays["familiar"].tolist()) if "familiar" in arrays else ()
    Calibration(metadata.temperature, familiar, metadata.unknown_threshold).write()
    print(f"wrote {CHECKPOINT} and {CALIBRATION} of run {metadata.run_id}")


def read_arrays(path: Path) -> Arrays:
    """Return the tensors of a float file in float32, by name.

    Raise `UserError` if the file is quantized, because 8 bits are too few to restore the weights.
    """
    graph = onnx.load(path).graph
    if is_quantized(graph):
        raise UserError(
            f"{path} is quantized to int8; expected fp32 or fp16, which keep the weights; export/README.md names such "
            "a file"
        )
    # Files that were exported before the frozen head got its name call it `memory`.
    return {
        name.removesuffix(HALF).replace("network.memory.", "network.frozen_head."): tensor.astype(np.float32)
        for name, tensor in read_tensors(graph).items()
    }


def is_quantized(graph: onnx.GraphProto) -> bool:
    """Return whether a tensor is stored in 8 bits, whichever operators compute with it.

    The quantizer writes QuantizeLinear and DequantizeLinear around float operators, and the optimizer fuses most of
    them to QLinearConv and QGemm.
    """
    return any(tensor.data_type in {TensorProto.INT8, TensorProto.UINT8} for tensor in graph.initializer)


def restore_network(arrays: Arrays, metadata: Metadata) -> Network:
    """Return the network with the weights of the file. Raise `UserError` if a tensor is missing or misshapen."""
    frozen_classes = len(arrays.get("network.frozen_head.bias", ()))
    network = build_network(metadata.architecture, len(metadata.class_names), frozen_classes=frozen_classes)
    modules = list(network.named_modules())
    for (name, module), (_, following) in zip(modules, [*modules[1:], modules[0]], strict=True):
        if isinstance(module, nn.Conv2d | nn.Linear):
            norm = following if isinstance(following, BatchNorm) else None
            copy_layer(module, norm, f"network.{name}.weight", arrays)
    return network.eval()


@torch.no_grad()
def copy_layer(layer: nn.Conv2d | nn.Linear, norm: nn.Module | None, name: str, arrays: Arrays) -> None:
    """Copy weight and bias to a layer.

    The export folded the batch norm after a layer into both. Such a batch norm becomes one that only adds the bias.
    """
    bias = arrays.get(f"{name}_bias", arrays.get(f"{name.removesuffix('weight')}bias"))
    if name not in arrays or bias is None or arrays[name].shape != tuple(layer.weight.shape):
        found = arrays[name].shape if name in arrays else "missing"
        raise UserError(f"the tensor {name} is {found}; expected {tuple(layer.weight.shape)} with a bias")
    layer.weight.copy_(torch.from_numpy(arrays[name]))
    if isinstance(norm, BatchNorm) and norm.running_var is not None:
        norm.weight.copy_((norm.running_var + norm.eps).sqrt())
        norm.bias.copy_(torch.from_numpy(bias))
    else:
        assert layer.bias is not None
        layer.bias.copy_(torch.from_numpy(bias))


if __name__ == "__main__":
    main()
