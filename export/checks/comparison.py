"""Compare a challenger with the champion, by the photos that exactly one of them classifies correctly."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest, norm
from tqdm import tqdm

from lambda_app.classifier import Classifier
from training.photo_dataset import Photos, Preprocessor, read_split
from training.split import Row

BATCH_SIZE = 64


@dataclass(frozen=True)
class Paired:
    """Count the photos that exactly one model classifies correctly; only these distinguish the models."""

    photos: int
    gained: int  # only the challenger is right
    lost: int  # only the champion is right

    @classmethod
    def from_answers(cls, challenger: NDArray[np.bool_], champion: NDArray[np.bool_]) -> "Paired":
        """Count from two arrays (N,) that state whether each prediction is correct."""
        return cls(len(champion), int((challenger & ~champion).sum()), int((champion & ~challenger).sum()))

    @property
    def difference(self) -> float:
        """Return the accuracy of the challenger minus that of the champion."""
        return (self.gained - self.lost) / self.photos

    @property
    def p_value(self) -> float:
        """Return the probability of at least as many gains if neither is better: McNemar's exact test, one-sided."""
        if not self.gained + self.lost:
            return 1.0
        return float(binomtest(self.gained, self.gained + self.lost, alternative="greater").pvalue)

    def lower_bound(self, confidence: float) -> float:
        """Return the one-sided lower confidence bound of the difference.

        The interval adds half a photo to each of the four cells (Agresti & Min 2005).
        """
        photos, differing = self.photos + 2, self.gained + self.lost + 1
        deviation = (differing - (self.gained - self.lost) ** 2 / photos) ** 0.5 / photos
        return float((self.gained - self.lost) / photos - norm.ppf(confidence) * deviation)

    def summarize(self, confidence: float) -> dict[str, Any]:
        """Return counts and statistics, as `release.json` holds them."""
        return asdict(self) | {
            "difference": self.difference,
            "lower_bound": self.lower_bound(confidence),
            "p_value": self.p_value,
        }


def load_or_none(path: Path) -> Classifier | None:
    """Return the classifier, or None if the serving code cannot load the file. Print the reason.

    Raise `OSError` if the file cannot be read, and `MemoryError` if memory runs out.
    """
    path.read_bytes()  # ONNX Runtime reports an unreadable file and an invalid model with the same error
    try:
        return Classifier.load(path)
    except Exception as error:  # the errors of ONNX Runtime share no base class
        if "bad_alloc" in str(error):
            raise MemoryError(f"too little memory to load {path}") from error
        print(f"cannot load {path.name}: {error}")
        return None


def predict_correct(classifier: Classifier, rows: Sequence[Row]) -> NDArray[np.bool_]:
    """Return whether each prediction on the test photos of `rows` is correct (N,), at the image size of the model."""
    return are_correct(classifier, read_split(list(rows), "test", Preprocessor(classifier.metadata.image_size)))


def are_correct(classifier: Classifier, photos: Photos) -> NDArray[np.bool_]:
    """Return whether each prediction is correct (N,)."""
    correct = []
    for start in tqdm(range(0, len(photos), BATCH_SIZE), desc=classifier.metadata.model_version, unit="batch"):
        batch = [photos[i] for i in range(start, min(start + BATCH_SIZE, len(photos)))]
        pixels, labels = (np.stack(values) for values in zip(*batch, strict=True))
        correct.append(classifier.run(pixels).probabilities.argmax(1) == labels)
    return np.concatenate(correct)
