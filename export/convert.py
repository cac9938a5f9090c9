"""Convert the checkpoint to `artifacts/model.onnx`.

Normalization, temperature and softmax are inside the graph; everything that serving needs to know is in its metadata.
"""

from datetime import UTC, datetime
from typing import Any

import onnx
import torch
from torch import nn

from export.files import MODEL, megabytes
from lambda_app.classifier import OUTPUTS
from lambda_app.metadata import Metadata
from training import config
from training.calibration import Calibration
from training.figures import read_figures
from training.model import count_parameters, load_checkpoint
from training.networks import Network


class ExportedNetwork(nn.Module):
    """Compute the outputs of the graph; `training.calibration` computes the same with NumPy."""

    def __init__(self, network: Network, calibration: Calibration) -> None:
        super().__init__()
        self.network, self.temperature = network, calibration.temperature
        self.familiar: torch.Tensor
        self.register_buffer("familiar", torch.tensor(calibration.familiar))

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Map uint8 (N, 3, S, S) to calibrated probabilities (N, C), raw logits (N, C) and familiarity (N,)."""
        logits, frozen_logits = self.network(images)
        if frozen_logits.shape[1]:
            familiarity = torch.softmax(frozen_logits, dim=1) @ self.familiar
        else:
            familiarity = torch.logsumexp(logits, dim=1)
        return torch.softmax(logits / self.temperature, dim=1), logits, familiarity


def main() -> None:
    network, checkpoint = load_checkpoint()
    evaluated = read_figures("evaluate")
    exported = ExportedNetwork(network, Calibration.read()).eval()
    program = export_onnx(exported, evaluated["image_size"], config.load(config.Export).opset)
    replace_metadata(program, build_metadata(checkpoint, evaluated, count_parameters(network)))
    onnx.checker.check_model(program, full_check=True)
    onnx.save(program, MODEL)
    print(f"{MODEL}: {megabytes(MODEL):.2f} MB, opset {program.opset_import[0].version}")


def export_onnx(module: nn.Module, image_size: int, opset: int) -> onnx.ModelProto:
    """Export the network with a dynamic batch size N, traced with a batch of two: a batch of one would fix N to 1."""
    images = torch.zeros(2, 3, image_size, image_size, dtype=torch.uint8)
    program = torch.onnx.export(
        module,
        (images,),
        dynamo=True,
        opset_version=opset,
        input_names=["images"],
        output_names=list(OUTPUTS),
        dynamic_shapes={"images": {0: torch.export.Dim("N")}},
        external_data=False,
        verbose=False,
    )
    if program is None:
        raise RuntimeError("torch.onnx.export returned no program; expected one with dynamo=True")
    return program.model_proto


def build_metadata(checkpoint: dict[str, Any], evaluated: dict[str, Any], parameters: int) -> Metadata:
    """Return the metadata of the model file.

    The version consists of the date and the run ID, so that versions sort by age and lead back to the MLflow run.
    """
    return Metadata(
        class_names=tuple(checkpoint["class_names"]),
        image_size=evaluated["image_size"],
        model_version=f"{datetime.now(UTC):%Y.%m.%d}-{checkpoint['run_id'][:8]}",
        run_id=checkpoint["run_id"],
        architecture=checkpoint["train"]["architecture"],
        parameters=parameters,
        temperature=evaluated["temperature"],
        unknown_threshold=evaluated["unknown_threshold"],
        data_hash=checkpoint["data_hash"],
        git_commit=checkpoint["git_commit"],
        metrics=evaluated["sets"] | evaluated["outliers"],
    )


def replace_metadata(program: onnx.ModelProto, metadata: Metadata) -> None:
    """Replace the metadata that the exporter wrote about this machine with the metadata that serving needs."""
    del program.metadata_props[:]
    onnx.helper.set_model_props(program, metadata.to_props())
    graph = program.graph
    for part in (graph, *graph.node, *graph.initializer, *graph.value_info, *graph.input, *graph.output):
        del part.metadata_props[:]  # stack traces and source paths of this machine
        part.doc_string = ""


if __name__ == "__main__":
    main()
