"""Restore the checkpoint and the calibration from a released file, for a clone without the training's outputs.

`python -m export.restore FILE` writes `artifacts/checkpoint.pt` and `artifacts/calibration.json` from an fp32 or fp16
file and `artifacts/metrics/train.json`. Then `convert`, `quantize` and `verify` run without the training. The weights
have the precision of the file.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import numpy_helper
from torch import nn

from export.release import RELEASED
from lambda_app.classifier import Classifier
from lambda_app.metadata import Metadata
from training.calibration import CALIBRATION, Calibration
from training.evaluate import TRAINING
from training.model import CHECKPOINT
from training.networks import TIMM, BatchNorm, Network, build_baseline, build_timm
from training.state import save_atomically

HALF = ".half"  # suffix of export.fp16
Arrays = dict[str, NDArray[np.float32]]


class RestoreError(SystemExit):
    """The file does not hold what the checkpoint needs; the message names the tensor or the run."""


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path, nargs="?", default=RELEASED, help="fp32 or fp16 (default: %(default)s)")
    path = parser.parse_args(arguments).file
    metadata = Classifier.load(path).metadata
    trained = json.loads(TRAINING.read_text())
    if trained["run_id"] != metadata.run_id:
        raise RestoreError(f"{TRAINING} describes run {trained['run_id']}; expected {metadata.run_id} of {path}")
    arrays = read_arrays(path)
    network = restore_network(arrays, metadata)
    trained["epoch"] = trained.pop("best")
    save_atomically(trained | {"state_dict": network.state_dict()}, CHECKPOINT)
    familiar = tuple(arrays["familiar"].tolist()) if "familiar" in arrays else ()
    Calibration(metadata.temperature, familiar, metadata.unknown_threshold).write()
    print(f"wrote {CHECKPOINT} and {CALIBRATION} of run {metadata.run_id}")


def read_arrays(path: Path) -> Arrays:
    """Return the float tensors of a file by name. Raise `RestoreError` for an int8 file, which has lost the weights."""
    program = onnx.load(path)
    if any(node.op_type.startswith("QLinear") for node in program.graph.node):
        raise RestoreError(f"{path} is quantized to int8; expected fp32 or fp16, whose weights can be trained further")
    tensors = {tensor.name.removesuffix(HALF): numpy_helper.to_array(tensor) for tensor in program.graph.initializer}
    # Files that were exported before the frozen head got its name call it `memory`.
    return {
        name.replace("network.memory.", "network.frozen_head."): tensor.astype(np.float32)
        for name, tensor in tensors.items()
    }


def restore_network(arrays: Arrays, metadata: Metadata) -> Network:
    """Return the network with the weights of the file. Raise `RestoreError` if a tensor is missing or misshapen."""
    classes, architecture = len(metadata.class_names), metadata.architecture
    if architecture in TIMM:
        frozen_classes = len(arrays.get("network.frozen_head.bias", ()))
        network = build_timm(architecture, classes, 0, frozen_classes)
    else:
        network = build_baseline(architecture, classes, 0)
    named = list(network.named_modules())
    for (name, module), (_, following) in zip(named, [*named[1:], named[0]], strict=True):
        if isinstance(module, nn.Conv2d | nn.Linear):
            norm = following if isinstance(following, BatchNorm) else None
            copy_layer(module, norm, f"network.{name}.weight", arrays)
    return network.eval()


@torch.no_grad()
def copy_layer(layer: nn.Conv2d | nn.Linear, norm: nn.Module | None, name: str, arrays: Arrays) -> None:
    """Copy weight and bias to a layer. The batch norm behind it, which the export folded into both, adds the bias."""
    bias = arrays.get(f"{name}_bias", arrays.get(f"{name.removesuffix('weight')}bias"))
    if name not in arrays or bias is None or arrays[name].shape != tuple(layer.weight.shape):
        found = arrays[name].shape if name in arrays else "missing"
        raise RestoreError(f"{name} is {found}; expected {tuple(layer.weight.shape)} with a bias")
    layer.weight.copy_(torch.from_numpy(arrays[name]))
    if isinstance(norm, BatchNorm) and norm.running_var is not None:
        norm.weight.copy_((norm.running_var + norm.eps).sqrt())
        norm.bias.copy_(torch.from_numpy(bias))
    else:
        assert layer.bias is not None
        layer.bias.copy_(torch.from_numpy(bias))


if __name__ == "__main__":
    main()
