"""Run the same network in PyTorch. The peer has this file in place of lambda_app/classifier.py.

TorchScript is deprecated, but it is the leanest way to run a network in PyTorch: torch.export's loader imports half of
the compiler.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from lambda_app.metadata import Metadata

ACTIVATION_MAP = "activation_map"
torch.set_num_threads(1)  # as the function's session


@dataclass(frozen=True)
class Outputs:
    probabilities: NDArray[np.float32]
    logits: NDArray[np.float32]
    familiarity: NDArray[np.float32]
    activation_map: None = None

    def select(self, index: int) -> "Outputs":
        one = slice(index, index + 1)
        return Outputs(self.probabilities[one], self.logits[one], self.familiarity[one])


@dataclass(frozen=True)
class Prediction:
    label: int
    predicted_class: str
    confidence: float
    probabilities: dict[str, float]
    unknown: bool


@dataclass(frozen=True)
class Classifier:
    network: torch.jit.ScriptModule
    metadata: Metadata
    has_activation_map: bool = False

    @classmethod
    def load(cls, path: Path) -> "Classifier":
        files = {"metadata.json": ""}
        network = torch.jit.load(path, map_location="cpu", _extra_files=files)
        return cls(network, Metadata.from_props(json.loads(files["metadata.json"])))

    def run(self, images: NDArray[np.uint8], *, explain: bool = False) -> Outputs:  # noqa: ARG002  # always false without a map
        with torch.inference_mode():
            logits, recalled = self.network(torch.from_numpy(images))
            probabilities = logits.div(self.metadata.temperature).softmax(1)
            return Outputs(probabilities.numpy(), logits.numpy(), recalled.logsumexp(1).numpy())

    def predict(self, pixels: NDArray[np.uint8]) -> Prediction:
        [prediction] = self.interpret(self.run(pixels[None]))
        return prediction

    def interpret(self, outputs: Outputs) -> list[Prediction]:
        names = self.metadata.class_names
        return [
            Prediction(
                label=(label := int(probabilities.argmax())),
                predicted_class=names[label],
                confidence=float(probabilities[label]),
                probabilities=dict(zip(names, probabilities.tolist(), strict=True)),
                unknown=bool(familiarity < self.metadata.unknown_threshold),
            )
            for probabilities, familiarity in zip(outputs.probabilities, outputs.familiarity, strict=True)
        ]
