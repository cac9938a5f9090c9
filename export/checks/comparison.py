"""Compare a challenger with the champion on the same photos, by where exactly one of them is right."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest, norm
from tqdm import tqdm

from lambda_app.classifier import Classifier
from training.config import Release
from training.data import Photos, Preprocessor, loader, read_manifest, read_split


@dataclass(frozen=True)
class Paired:
    """Count the photos on which exactly one model is right. All other photos carry no evidence for either."""

    photos: int
    gained: int  # only the challenger is right
    lost: int  # only the champion is right

    @classmethod
    def from_answers(cls, challenger: NDArray[np.bool_], champion: NDArray[np.bool_]) -> "Paired":
        """Count from two arrays (N,) that state whether each prediction is correct."""
        return cls(len(champion), int((challenger & ~champion).sum()), int((champion & ~challenger).sum()))

    @property
    def difference(self) -> float:
        """Accuracy of the challenger minus accuracy of the champion."""
        return (self.gained - self.lost) / self.photos

    @property
    def p_value(self) -> float:
        """Probability of at least as many gains if neither model is better: McNemar's exact test, one-sided (1947)."""
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


def decide_promotion(paired: Paired, size: float, rule: Release) -> tuple[bool, str]:
    """Return whether to promote the challenger, and the reason. `size` is its file size relative to the champion's.

    A challenger is promoted if it is better, or if it loses no more than the margin and its file is clearly smaller. On
    a tie the champion stays, because it has proven itself on real photos. Latency does not count: on a machine that
    does other work, a measurement says little about the file. Repeated small losses end at the limits of `verify`, if
    there are any for these classes.
    """
    bound = paired.lower_bound(rule.confidence)
    is_better = paired.p_value <= 1 - rule.confidence
    is_as_good, is_smaller = bound >= -rule.margin, size <= 1 - rule.saving
    if is_better:
        verdict = "better"
    elif is_as_good:
        verdict = "as good and smaller" if is_smaller else "as good, but no smaller"
    else:
        verdict = "neither better nor shown to be as good"
    figures = (
        f"of {paired.photos:,} test photos, only the challenger is right on {paired.gained} and only the champion on "
        f"{paired.lost} (p = {paired.p_value:.3g}, at most {1 - rule.confidence:.3g} required); with "
        f"{100 * rule.confidence:g} % confidence, the change of accuracy is at least {100 * bound:+.2f} "
        f"points ({-100 * rule.margin:+g} required); the file has {100 * size:.0f} % of the champion's size "
        f"(at most {100 * (1 - rule.saving):g} % counts as smaller)"
    )
    return is_better or (is_as_good and is_smaller), f"{verdict}: {figures}"


def load_or_none(path: Path) -> Classifier | None:
    """Return the classifier, or None if the serving code cannot load the file; the reason is printed.

    Raise `OSError` or `MemoryError` if the file is not to blame.
    """
    path.read_bytes()  # ONNX Runtime reports an unreadable file and an invalid model with the same error
    try:
        return Classifier.load(path)
    except Exception as error:  # the errors of ONNX Runtime share no base class
        if "bad_alloc" in str(error):
            raise MemoryError(f"too little memory to load {path}") from error
        print(f"cannot load {path.name}: {error}")
        return None


def predict_correct(classifier: Classifier) -> NDArray[np.bool_]:
    """Return whether each prediction on the test split is correct (N,), at the image size of the model."""
    return are_correct(classifier, read_split(read_manifest(), "test", Preprocessor(classifier.metadata.image_size)))


def are_correct(classifier: Classifier, photos: Photos) -> NDArray[np.bool_]:
    """Return whether each prediction is correct (N,)."""
    batches = tqdm(loader(photos, 64, workers=0), desc=classifier.metadata.model_version, unit="batch")
    labels = [classifier.run(batch.numpy()).probabilities.argmax(1) for batch, _ in batches]
    return np.asarray(np.concatenate(labels) == np.array(photos.labels))
