"""Check that fp32 computes what PyTorch does, at every batch size and on every set, and that metadata is unchanged."""

from collections.abc import Mapping
from dataclasses import asdict

import numpy as np
from numpy.typing import NDArray

from export.checks.evaluation import PixelBatch, Run, concatenate
from export.checks.gates import Gate
from lambda_app.metadata import Metadata
from lambda_app.outputs import Outputs

BATCH_SIZES = (1, 2, 7)  # a single photo, the smallest batch, and a size that no kernel is tiled for
BATCHES = 10  # of each size
MAX_PHOTOS = BATCHES * max(BATCH_SIZES)  # of the test split
HINT = "verify.max_probability_difference in params.yaml"


def check_metadata(name: str, measured: Metadata, expected: Metadata) -> Gate:
    """Return a gate that counts the keys that differ from what training and evaluation wrote.

    The version is not compared, because it contains the date of the export.
    """
    actual, trained = asdict(measured), asdict(expected)
    different = [key for key in trained if key != "model_version" and actual[key] != trained[key]]
    hint = f"these keys differ from what training wrote: {', '.join(different)}"
    return Gate(f"metadata_unlike_{name}", len(different), 0, hint)


def check_batch_parity(pytorch: Run, fp32: Run, pixels: PixelBatch, limit: float) -> list[Gate]:
    """Return a gate for each batch size that compares the probabilities on the first photos."""
    gates = []
    for size in BATCH_SIZES:
        batches = [pixels[i : i + size] for i in range(0, len(pixels), size)][:BATCHES]
        exported, trained = (concatenate([run(batch) for batch in batches]).probabilities for run in (fp32, pytorch))
        difference = largest_difference(exported, trained)
        gates.append(Gate(f"probability_difference_batch_{size}", difference, limit, HINT))
    return gates


def check_set_parity(name: str, outputs: Mapping[str, Outputs], limit: float) -> list[Gate]:
    """Return gates that compare probabilities, familiarity and predicted classes on one set."""
    exported, trained = outputs["fp32"], outputs["pytorch"]
    first, second = np.sort(trained.probabilities, axis=1)[:, :-3:-1].T
    is_tie = first - second <= 2 * limit  # either class is right for a tie
    is_different = exported.probabilities.argmax(1) != trained.probabilities.argmax(1)
    probability = largest_difference(exported.probabilities, trained.probabilities)
    familiarity = largest_difference(exported.familiarity, trained.familiarity)
    count = int((is_different & ~is_tie).sum())
    return [
        Gate(f"probability_difference_{name}", probability, limit, HINT),
        Gate(f"familiarity_difference_{name}", familiarity, limit, HINT),
        Gate(f"different_predictions_{name}", count, 0, "constant limit: fp32 and PyTorch are the same network"),
    ]


def largest_difference(first: NDArray[np.float32], second: NDArray[np.float32]) -> float:
    """Return the largest absolute difference, or NaN if any value is NaN."""
    return float(np.abs(first - second).max())
