"""Stands in for lambda_app/classifier.py: the same network in PyTorch, the rest of the handler as it is.

TorchScript, though deprecated, because it is the leanest way to run a network in PyTorch: torch.export's loader imports
half of the compiler.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from lambda_app.metadata import Metadata

torch.set_num_threads(1)  # as our session


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

    @classmethod
    def load(cls, path: Path) -> "Classifier":
        files = {"metadata.json": ""}
        network = torch.jit.load(path, map_location="cpu", _extra_files=files)
        return cls(network, Metadata.from_props(json.loads(files["metadata.json"])))

    def predict(self, pixels: NDArray[np.uint8]) -> Prediction:
        """One (3, S, S) photo."""
        with torch.inference_mode():
            logits, recalled = self.network(torch.from_numpy(pixels)[None])
            probabilities = logits.div(self.metadata.temperature).softmax(1)[0].tolist()
            familiarity = float(recalled.logsumexp(1)[0])
        label = max(range(len(probabilities)), key=probabilities.__getitem__)
        names = self.metadata.class_names
        return Prediction(
            label=label,
            predicted_class=names[label],
            confidence=probabilities[label],
            probabilities=dict(zip(names, probabilities, strict=True)),
            unknown=familiarity < self.metadata.unknown_threshold,
        )
