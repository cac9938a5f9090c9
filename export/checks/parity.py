"""fp32 is what was trained: the same numbers as PyTorch at every batch size and on every set, the same metadata."""

from collections.abc import Mapping
from dataclasses import asdict

import numpy as np
from numpy.typing import NDArray

from export.checks.evaluation import Pixels, Run, joined
from export.checks.gates import Gate
from lambda_app.classifier import Outputs
from lambda_app.metadata import Metadata

BATCH_SIZES = (1, 2, 7)  # one, the smallest batch, and one that no kernel is tiled for
FIRST = 10 * max(BATCH_SIZES)  # photos of the test split: ten batches of each size
KEY = "verify.max_probability_difference in params.yaml"


def metadata(name: str, measured: Metadata, expected: Metadata) -> Gate:
    """What the file says of itself is what training and evaluation wrote; its version holds the day of the export."""
    ours, theirs = asdict(measured), asdict(expected)
    unlike = [key for key in theirs if key != "model_version" and ours[key] != theirs[key]]
    return Gate(f"metadata_unlike_{name}", len(unlike), 0, f"not what training wrote: {', '.join(unlike)}")


def batch_parity(pytorch: Run, fp32: Run, pixels: Pixels, limit: float) -> list[Gate]:
    """On the first photos, in batches of several sizes."""
    gates = []
    for size in BATCH_SIZES:
        batches = [pixels[i : i + size] for i in range(0, len(pixels), size)][:10]
        ours, theirs = (joined([run(batch) for batch in batches]).probabilities for run in (fp32, pytorch))
        gates.append(Gate(f"probability_difference_batch_{size}", difference(ours, theirs), limit, KEY))
    return gates


def set_parity(name: str, said: Mapping[str, Outputs], limit: float) -> list[Gate]:
    ours, theirs = said["fp32"], said["pytorch"]
    first, second = np.sort(theirs.probabilities, axis=1)[:, :-3:-1].T
    undecided = first - second <= 2 * limit  # a tie may fall either way
    others = int(((ours.probabilities.argmax(1) != theirs.probabilities.argmax(1)) & ~undecided).sum())
    return [
        Gate(f"probability_difference_{name}", difference(ours.probabilities, theirs.probabilities), limit, KEY),
        Gate(f"familiarity_difference_{name}", difference(ours.familiarity, theirs.familiarity), limit, KEY),
        Gate(f"different_predictions_{name}", others, 0, "fixed: fp32 and PyTorch are the same network"),
    ]


def difference(ours: NDArray[np.float32], theirs: NDArray[np.float32]) -> float:
    """The largest; no number if any is none."""
    return float(np.abs(ours - theirs).max())
