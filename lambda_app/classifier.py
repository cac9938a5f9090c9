"""The model file and ONNX Runtime: pixels in, probabilities out."""

import os
from dataclasses import dataclass
from pathlib import Path

# Since 1.29 the Linux wheels report usage to their maker unless this is set before the import.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from lambda_app.metadata import Metadata, MetadataError

OUTPUTS = ("probabilities", "logits", "familiarity")


@dataclass(frozen=True)
class Outputs:
    """Of N photos, in order."""

    probabilities: NDArray[np.float32]  # (N, C), calibrated, rows sum to 1
    logits: NDArray[np.float32]  # (N, C)
    familiarity: NDArray[np.float32]  # (N,), higher for photos like those of the training

    def of(self, photo: int) -> "Outputs":
        """Of one of them, N = 1."""
        one = slice(photo, photo + 1)
        return Outputs(self.probabilities[one], self.logits[one], self.familiarity[one])


@dataclass(frozen=True)
class Prediction:
    """Of one photo."""

    label: int  # index into class_names
    predicted_class: str
    confidence: float  # of that class, in [0, 1]
    probabilities: dict[str, float]
    unknown: bool  # none of the classes was recognised


@dataclass(frozen=True)
class Classifier:
    """A session and what the model file says about itself."""

    session: ort.InferenceSession
    metadata: Metadata

    @classmethod
    def load(cls, path: Path, *, arena: bool = False) -> "Classifier":
        """With an arena batches of 8 and more are twice as fast, at the price of memory.

        Raises FileNotFoundError, or MetadataError where the file lacks what serving needs.
        """
        if not path.is_file():
            raise FileNotFoundError(
                f"no model file at {path}; expected the .onnx that export/release.py writes (MODEL_PATH)"
            )
        session = ort.InferenceSession(path, _options(arena=arena), providers=["CPUExecutionProvider"])
        outputs = tuple(output.name for output in session.get_outputs())
        if outputs != OUTPUTS:
            raise MetadataError(f"{path} answers with {', '.join(outputs)}; expected {', '.join(OUTPUTS)}")
        return cls(session, Metadata.from_props(session.get_modelmeta().custom_metadata_map))

    def run(self, images: NDArray[np.uint8]) -> Outputs:
        """(N, 3, S, S) RGB, 0..255."""
        return Outputs(*self.session.run(OUTPUTS, {"images": images}))

    def predict(self, pixels: NDArray[np.uint8]) -> Prediction:
        """One (3, S, S) photo."""
        [prediction] = self.predictions(self.run(pixels[None]))
        return prediction

    def predictions(self, outputs: Outputs) -> list[Prediction]:
        """What the outputs mean, photo by photo."""
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


def _options(*, arena: bool) -> ort.SessionOptions:
    options = ort.SessionOptions()
    # Lambda gives one vCPU per 1,769 MB and its sandbox rejects affinity calls: one thread, which never spins.
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # An arena keeps what it once needed: 5 MB at the peak. One photo gains no time by it.
    options.enable_cpu_mem_arena = arena
    options.enable_mem_pattern = arena  # it plans the arena
    return options
