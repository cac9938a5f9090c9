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
from lambda_app.outputs import Outputs, Prediction, interpret

ACTIVATION_MAP = "activation_map"
torch.set_num_threads(1)  # as the function's session


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
        [prediction] = interpret(self.run(pixels[None]), self.metadata)
        return prediction
