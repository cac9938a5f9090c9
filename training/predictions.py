"""Hold the outputs of a network for a set of photos."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]
Labels = NDArray[np.int64]


@dataclass(frozen=True)
class Predictions:
    """The outputs of a network for N photos, in order, with their labels."""

    logits: NDArray[np.float32]  # (N, C)
    frozen_logits: NDArray[np.float32]  # (N, K) of the frozen head; K is 0 without one
    labels: Labels  # (N,)
