"""Run the model file in ONNX Runtime: pixels in, probabilities out."""

import os
from dataclasses import dataclass
from pathlib import Path

# Since version 1.29 the Linux wheels send usage data to their vendor unless this is set before the import.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
# Outside the image, NumPy's import starts OpenBLAS's threads, one per CPU that it sees: 8 % of the CPU time of a start.
# ONNX Runtime does not use them.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from lambda_app.metadata import Metadata, MetadataError
from lambda_app.outputs import Outputs, Prediction, interpret

OUTPUTS = ("probabilities", "logits", "familiarity")
ACTIVATION_MAP = "activation_map"  # a further output, which export/activation_map.py adds for most networks
EXPLAIN = "explain"  # its switch: an input with the default false
YES = np.array(1, np.bool_)


@dataclass(frozen=True)
class Classifier:
    """An inference session and the metadata of its model file."""

    session: ort.InferenceSession
    metadata: Metadata
    has_activation_map: bool = False

    @classmethod
    def load(cls, path: Path, *, arena: bool = False) -> "Classifier":
        """Load a model file. A memory arena speeds up runs of 8 images or more, but uses more memory.

        Raise `FileNotFoundError`, or `MetadataError` if the file lacks what serving needs.
        """
        if not path.is_file():
            raise FileNotFoundError(
                f"no model file at {path}; expected the .onnx that export/release.py writes (MODEL_PATH)"
            )
        session = ort.InferenceSession(path, _options(arena=arena), providers=["CPUExecutionProvider"])
        outputs = tuple(output.name for output in session.get_outputs())
        if outputs not in (OUTPUTS, (*OUTPUTS, ACTIVATION_MAP)):
            raise MetadataError(f"{path} has the outputs {', '.join(outputs)}; expected {', '.join(OUTPUTS)}")
        has_activation_map = ACTIVATION_MAP in outputs
        return cls(session, Metadata.from_props(session.get_modelmeta().custom_metadata_map), has_activation_map)

    def run(self, images: NDArray[np.uint8], *, explain: bool = False) -> Outputs:
        """Run the network on (N, 3, S, S) RGB images, 0..255. `explain` requires `has_activation_map`."""
        if explain:
            return Outputs(*self.session.run((*OUTPUTS, ACTIVATION_MAP), {"images": images, EXPLAIN: YES}))
        return Outputs(*self.session.run(OUTPUTS, {"images": images}))

    def predict(self, pixels: NDArray[np.uint8]) -> Prediction:
        """Classify one (3, S, S) photo."""
        [prediction] = interpret(self.run(pixels[None]), self.metadata)
        return prediction


def _options(*, arena: bool) -> ort.SessionOptions:
    options = ort.SessionOptions()
    # Lambda allots one vCPU per 1,769 MB, and its sandbox rejects affinity calls: use one thread, which never spins.
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # An arena keeps the memory of the largest run, 5 MB more at the peak. It does not speed up single photos.
    options.enable_cpu_mem_arena = arena
    options.enable_mem_pattern = arena  # plans the arena
    # Errors only: a warning in plain text would report at each start that `explain` is optional.
    options.log_severity_level = 3
    return options
