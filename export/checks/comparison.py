"""Challenger against champion on the same photos: where is one right and the other wrong?"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest, norm
from tqdm import tqdm

from lambda_app.classifier import Classifier
from training.config import Release
from training.data import Preprocessor, loader, read_manifest, read_split


@dataclass(frozen=True)
class Paired:
    """Photos on which both are right, or both wrong, say nothing about which is better."""

    photos: int
    gained: int  # right with the challenger alone
    lost: int  # right with the champion alone

    @classmethod
    def of(cls, challenger: NDArray[np.bool_], champion: NDArray[np.bool_]) -> "Paired":
        """(n,) each: whether the answer was right."""
        return cls(len(champion), int((challenger & ~champion).sum()), int((champion & ~challenger).sum()))

    @property
    def difference(self) -> float:
        """Of the accuracies, challenger minus champion."""
        return (self.gained - self.lost) / self.photos

    @property
    def p_value(self) -> float:
        """Of McNemar's exact test, one-sided: how likely so many gains are if neither is better (1947)."""
        if not self.gained + self.lost:
            return 1.0
        return float(binomtest(self.gained, self.gained + self.lost, alternative="greater").pvalue)

    def lower_bound(self, confidence: float) -> float:
        """The difference is above this, one-sided (Agresti & Min 2005: half a photo more in each of the four cells)."""
        photos, differing = self.photos + 2, self.gained + self.lost + 1
        deviation = (differing - (self.gained - self.lost) ** 2 / photos) ** 0.5 / photos
        return float((self.gained - self.lost) / photos - norm.ppf(confidence) * deviation)

    def figures(self, confidence: float) -> dict[str, Any]:
        return asdict(self) | {
            "difference": self.difference,
            "lower_bound": self.lower_bound(confidence),
            "p_value": self.p_value,
        }


def judge(paired: Paired, size: float, rule: Release) -> tuple[bool, str]:
    """Whether the challenger is promoted, and why; `size` is its file's as a share of the champion's.

    It must be better, or no worse by more than the margin in a clearly smaller file. On a tie the champion stays: it
    has answered real photos. Latency does not count: on a machine that does other work it is no fact about a file.
    Files that lose a little each time end where verify's limits are, where it has any for these classes.
    """
    bound = paired.lower_bound(rule.confidence)
    better = paired.p_value <= 1 - rule.confidence
    as_good, smaller = bound >= -rule.margin, size <= 1 - rule.saving
    if better:
        verdict = "better"
    elif as_good:
        verdict = "as good and smaller" if smaller else "as good, but no smaller"
    else:
        verdict = "neither better nor shown to be as good"
    figures = (
        f"of {paired.photos} test photos {paired.gained} are right with the challenger alone, {paired.lost} with the "
        f"champion alone (p {paired.p_value:.3g}, wanted {1 - rule.confidence:.3g}); with {100 * rule.confidence:g} % "
        f"confidence accuracy changes by more than {100 * bound:+.2f} points (allowed {-100 * rule.margin:+g}); "
        f"the file has {100 * size:.0f} % of the size (smaller: {100 * (1 - rule.saving):g} %)"
    )
    return better or (as_good and smaller), f"{verdict}: {figures}"


def loaded(path: Path) -> Classifier | None:
    """None where it is no model that today's serving code can ask; why is said.

    Raises OSError, or MemoryError, where it is not the file's fault.
    """
    path.read_bytes()  # ONNX Runtime's error of a file that may not be read is its error of a file that is none
    try:
        return Classifier.load(path)
    except Exception as error:  # the errors of ONNX Runtime have no base of their own
        if "bad_alloc" in str(error):
            raise MemoryError(f"too little memory to load {path}") from error
        print(f"{path.name} cannot be asked: {error}")
        return None


def right(classifier: Classifier) -> NDArray[np.bool_]:
    """(n,) of the test split, each photo at the size that the model wants."""
    photos = read_split(read_manifest(), "test", Preprocessor(classifier.metadata.image_size))
    batches = tqdm(loader(photos, 64, workers=0), desc=classifier.metadata.model_version, unit="batch")
    answers = [classifier.run(batch.numpy()).probabilities.argmax(1) for batch, _ in batches]
    return np.asarray(np.concatenate(answers) == np.array(photos.labels))
