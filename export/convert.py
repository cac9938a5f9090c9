"""Stage 4: checkpoint to `artifacts/model.onnx`: normalisation, temperature and softmax inside, metadata stamped on."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import onnx
import torch
from torch import nn

from lambda_app.classifier import OUTPUTS
from lambda_app.metadata import Metadata
from training import config
from training.calibration import REPORT, Calibration
from training.model import count_parameters, load_checkpoint
from training.networks import Network

MODEL = Path("artifacts/model.onnx")


class Exported(nn.Module):
    """What the graph computes, as `training.calibration` does with NumPy."""

    def __init__(self, network: Network, calibration: Calibration) -> None:
        super().__init__()
        self.network, self.temperature = network, calibration.temperature
        self.familiar: torch.Tensor
        self.register_buffer("familiar", torch.tensor(calibration.familiar))

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """uint8 (N, 3, S, S) -> calibrated probabilities (N, C), raw logits (N, C), familiarity (N,)."""
        logits, frozen_logits = self.network(images)
        if frozen_logits.shape[1]:
            familiarity = torch.softmax(frozen_logits, dim=1) @ self.familiar
        else:
            familiarity = torch.logsumexp(logits, dim=1)
        return torch.softmax(logits / self.temperature, dim=1), logits, familiarity


def main() -> None:
    network, checkpoint = load_checkpoint()
    report = json.loads(REPORT.read_text())
    exported = Exported(network, Calibration.read()).eval()
    program = export(exported, report["image_size"], config.load(config.Export).opset)
    stamp(program, describe(checkpoint, report, count_parameters(network)))
    onnx.checker.check_model(program, full_check=True)
    onnx.save(program, MODEL)
    print(f"{MODEL}: {MODEL.stat().st_size / 1e6:.2f} MB, opset {program.opset_import[0].version}")


def export(module: nn.Module, image_size: int, opset: int) -> onnx.ModelProto:
    """Trace with a batch of two: with one, the exporter would fix N to 1."""
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


def describe(checkpoint: dict[str, Any], report: dict[str, Any], parameters: int) -> Metadata:
    """The version is the day and the run, so that versions sort by age and lead back to MLflow."""
    return Metadata(
        class_names=tuple(checkpoint["class_names"]),
        image_size=report["image_size"],
        model_version=f"{datetime.now(UTC):%Y.%m.%d}-{checkpoint['run_id'][:8]}",
        run_id=checkpoint["run_id"],
        architecture=checkpoint["train"]["architecture"],
        parameters=parameters,
        temperature=report["temperature"],
        unknown_threshold=report["unknown_threshold"],
        data_hash=checkpoint["data_hash"],
        git_commit=checkpoint["git_commit"],
        metrics=report["sets"] | report["outliers"],
    )


def stamp(program: onnx.ModelProto, metadata: Metadata) -> None:
    """Replace what the exporter wrote about the machine with what serving needs."""
    del program.metadata_props[:]
    onnx.helper.set_model_props(program, metadata.to_props())
    graph = program.graph
    for part in (graph, *graph.node, *graph.initializer, *graph.value_info, *graph.input, *graph.output):
        del part.metadata_props[:]  # stack traces and source names of the exporting machine
        part.doc_string = ""


if __name__ == "__main__":
    main()
