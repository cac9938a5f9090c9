"""Define the outputs of the network, and turn them into predictions."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lambda_app.metadata import Metadata


@dataclass(frozen=True)
class Outputs:
    """The network's outputs for N photos, in order."""

    probabilities: NDArray[np.float32]  # (N, C), calibrated; each row sums to 1
    logits: NDArray[np.float32]  # (N, C)
    familiarity: NDArray[np.float32]  # (N,), higher for photos that resemble the training photos
    activation_map: NDArray[np.float32] | None = None  # (N, h, w) if requested: what counts toward the predicted class

    def select(self, index: int) -> "Outputs":
        """Return the outputs for one photo, N = 1."""
        one = slice(index, index + 1)
        activation_map = None if self.activation_map is None else self.activation_map[one]
        return Outputs(self.probabilities[one], self.logits[one], self.familiarity[one], activation_map)


@dataclass(frozen=True)
class Prediction:
    """The prediction for one photo."""

    predicted_class: str
    predicted_label: int  # index into class_names
    confidence: float  # probability of the predicted class, in [0, 1]
    probabilities: dict[str, float]
    unknown: bool  # the photo probably shows none of the classes: its familiarity is below the threshold


def interpret(outputs: Outputs, metadata: Metadata) -> list[Prediction]:
    """Return the prediction for each photo of the outputs."""
    names = metadata.class_names
    return [
        Prediction(
            predicted_label=(label := int(probabilities.argmax())),
            predicted_class=names[label],
            confidence=float(probabilities[label]),
            probabilities=dict(zip(names, probabilities.tolist(), strict=True)),
            unknown=bool(familiarity < metadata.unknown_threshold),
        )
        for probabilities, familiarity in zip(outputs.probabilities, outputs.familiarity, strict=True)
    ]
