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
    def load(cls, path: Path) -> "Classifier":
        """Raises FileNotFoundError, or MetadataError where the file lacks what serving needs."""
        if not path.is_file():
            raise FileNotFoundError(
                f"no model file at {path}; expected the .onnx that export/release.py writes (MODEL_PATH)"
            )
        session = ort.InferenceSession(path, _options(), providers=["CPUExecutionProvider"])
        outputs = tuple(output.name for output in session.get_outputs())
        if outputs != OUTPUTS:
            raise MetadataError(f"{path} answers with {', '.join(outputs)}; expected {', '.join(OUTPUTS)}")
        return cls(session, Metadata.from_props(session.get_modelmeta().custom_metadata_map))

    def run(self, images: NDArray[np.uint8]) -> Outputs:
        """(N, 3, S, S) RGB, 0..255."""
        return Outputs(*self.session.run(OUTPUTS, {"images": images}))

    def predict(self, pixels: NDArray[np.uint8]) -> Prediction:
        """One (3, S, S) photo."""
        return self.decide(self.run(pixels[None]))

    def decide(self, outputs: Outputs) -> Prediction:
        """What the outputs of one photo mean."""
        probabilities = outputs.probabilities[0]
        label = int(probabilities.argmax())
        names = self.metadata.class_names
        return Prediction(
            label=label,
            predicted_class=names[label],
            confidence=float(probabilities[label]),
            probabilities=dict(zip(names, probabilities.tolist(), strict=True)),
            unknown=bool(outputs.familiarity[0] < self.metadata.unknown_threshold),
        )


def _options() -> ort.SessionOptions:
    options = ort.SessionOptions()
    # Lambda gives one vCPU per 1,769 MB and its sandbox rejects affinity calls: one thread, which never spins.
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # An arena keeps what it once needed: 5 MB at the peak. One photo gains no time by it; a batch of 8 or more would.
    options.enable_cpu_mem_arena = False
    options.enable_mem_pattern = False  # it plans the arena
    return options
