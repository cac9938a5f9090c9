"""Compare a challenger with the champion, by the photos that exactly one of them classifies correctly."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest, norm
from tqdm import tqdm

from lambda_app.classifier import Classifier
from training.config import Release
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


def decide_promotion(paired: Paired, size_ratio: float, growth: float | None, rule: Release) -> tuple[bool, str]:
    """Return whether to promote the challenger, and the reason. `size_ratio` is its file size over the champion's.

    `growth` is the relative increase of training photos over the champion's, or None if it is unknown. A challenger is
    promoted if it is better, if it loses no more than the margin and its file is clearly smaller, or if it is no worse
    on the test photos and was trained on clearly more photos. The champion wins a tie, because it has proven itself in
    production. Latency does not count, because its measurements are unreliable on a busy machine. The limits of
    `verify` bound the sum of repeated small losses, for classes that have limits.
    """
    bound = paired.lower_bound(rule.confidence)
    is_better = paired.p_value <= 1 - rule.confidence
    is_as_good, is_smaller = bound >= -rule.margin, size_ratio <= 1 - rule.saving
    wins_by_growth = paired.lost <= paired.gained and growth is not None and growth >= rule.growth
    if is_better:
        verdict = "better"
    elif is_as_good and is_smaller:
        verdict = "as good and smaller"
    elif wins_by_growth:
        verdict = f"no worse, and trained on {100 * (growth or 0):.0f} % more photos"
    else:
        verdict = "as good, but no smaller" if is_as_good else "neither better nor shown to be as good"
    figures = (
        f"of {paired.photos:,} test photos, only the challenger is right on {paired.gained} and only the champion on "
        f"{paired.lost} (p = {paired.p_value:.3g}; at most {1 - rule.confidence:.3g} counts as better); with "
        f"{100 * rule.confidence:g} % confidence, the change of accuracy is at least {100 * bound:+.2f} points "
        f"(at least {-100 * rule.margin:+g} counts as equally good); the file has {100 * size_ratio:.0f} % of the "
        f"champion's size (at most {100 * (1 - rule.saving):g} % counts as smaller)"
    )
    return is_better or (is_as_good and is_smaller) or wins_by_growth, f"{verdict}: {figures}"


def explain_need(paired: Paired, errors: int, champion_photos: int | None, rule: Release) -> str:
    """Return what a challenger would need to win. `errors` is the number of test photos that the champion gets wrong.

    `champion_photos` is the number of photos that the champion was trained on, or None if the rule on growth does not
    apply.
    """
    needed = count_needed_gains(paired.lost, rule.confidence)
    found = f"only {errors} wrong; add photos" if needed > errors else f"{errors} wrong"
    needs = [f"be right on {needed} photos that the champion gets wrong (it gets {found})"]
    enough = count_photos_to_show_equality(rule) if rule.margin else 0
    share = f"at most {100 * (1 - rule.saving):g} % of the champion's size"
    if paired.photos < enough:
        needs.append(f"have a file of {share} and be tested on {enough:,} photos that both get right")
    else:
        needs.append(f"lose at most {100 * rule.margin:g} points in a file of {share}")
    if champion_photos is not None:
        more = math.ceil(round((1 + rule.growth) * champion_photos, 6))  # 1.1 * 12,760 is 14,036.000000000002
        needs.append(f"be no worse on the test photos and be trained on {more:,} photos")
    return f"to win, a challenger has to {', or '.join(needs)}; `make promote` serves it anyway"


def count_needed_gains(lost: int, confidence: float) -> int:
    """Return the smallest number of gains with which a challenger that loses `lost` photos is better."""
    gains = lost + 1
    while Paired(0, gains, lost).p_value > 1 - confidence:
        gains += 1
    return gains


def count_photos_to_show_equality(rule: Release) -> int:
    """Return the smallest number of test photos that shows a challenger with equal predictions to be as good."""
    # With no differing photo, the bound of Paired.lower_bound is -z * sqrt(1 - 0 / (N + 2)) / (N + 2).
    quantile = float(norm.ppf(rule.confidence))
    return max(1, math.ceil(quantile / rule.margin) - 2)


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
