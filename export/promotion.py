"""Decide whether a challenger replaces the champion. Both predict the test photos from which neither has learned."""

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from mlflow.entities.model_registry import ModelVersion
from numpy.typing import NDArray
from scipy.stats import norm

from export.checks.comparison import Paired, load_or_none, predict_correct
from export.checks.corrections import Corrections, compare_corrections, decide_with_corrections
from export.checks.unseen_photos import UnseenPhotos, select_unseen
from export.files import megabytes
from export.learned_photos import PHOTO_COUNT, LearnedPhotos
from export.registry import Registry
from lambda_app.classifier import Classifier
from training import config
from training.source import sha256


@dataclass(frozen=True)
class Outcome:
    """The decision about a file, as artifacts/metrics/release.json holds it."""

    candidate: str  # int8, fp16, fp32, or "adopted" for a file that was released elsewhere
    model_version: str
    sha256: str
    size_mb: float
    promoted: bool
    reason: str
    accuracy: float | None = None  # on the test photos that neither model learned; None without a comparison
    champion: dict[str, Any] | None = None  # its file and accuracy; None without a comparison
    paired: dict[str, Any] | None = None  # see export.checks.comparison.Paired
    excluded: int | None = None  # test photos that the champion learned; None if that is not known
    corrections: dict[str, Any] | None = None  # see export.checks.corrections.Corrections


@dataclass(frozen=True)
class Comparison:
    """The answers of challenger and champion to the same photos."""

    challenger_path: Path
    champion_path: Path
    champion_version: ModelVersion
    photos: UnseenPhotos  # rows of all splits, without the test photos that the champion learned
    challenger_correct: NDArray[np.bool_]  # (N,), whether each prediction is correct
    champion_correct: NDArray[np.bool_]
    corrections: Corrections | None

    @property
    def paired(self) -> Paired:
        return Paired.from_answers(self.challenger_correct, self.champion_correct)

    @property
    def champion_photo_count(self) -> int | None:
        """Return how many photos the champion was trained on, or None if that is unknown."""
        tags = self.champion_version.tags
        return int(tags[PHOTO_COUNT]) if PHOTO_COUNT in tags else None

    @property
    def growth(self) -> float | None:
        """Return the relative increase of training photos, or None if it is unknown or too few test photos remain."""
        if not self.champion_photo_count or self.photos.are_few:
            return None
        trained = sum(row.split == "train" for row in self.photos.rows)
        return (trained - self.champion_photo_count) / self.champion_photo_count

    def decide(self, rule: config.Release) -> tuple[bool, str]:
        """Return whether to promote the challenger, and the reason."""
        size_ratio = megabytes(self.challenger_path) / megabytes(self.champion_path)
        promoted, reason = decide_promotion(self.paired, size_ratio, self.growth, rule)
        decision = promoted, reason + self.photos.describe()
        promoted, reason = decide_with_corrections(decision, self.paired, self.corrections, rule)
        if not promoted:
            errors = int((~self.champion_correct).sum())
            count = self.champion_photo_count if self.growth is not None else None
            reason += f"; {explain_need(self.paired, errors, count, rule)}"
        return promoted, reason

    def summarize(self, rule: config.Release) -> Outcome:
        """Return the decision with the figures that led to it."""
        promoted, reason = self.decide(rule)
        candidate = self.champion_version.tags.get("candidate")
        champion = {"candidate": candidate, "accuracy": float(self.champion_correct.mean())}
        return Outcome(
            **describe_file(self.challenger_path),
            promoted=promoted,
            reason=reason,
            accuracy=float(self.challenger_correct.mean()),
            champion=describe_file(self.champion_path) | champion,
            paired=self.paired.summarize(rule.confidence),
            excluded=self.photos.excluded,
            corrections=asdict(self.corrections) if self.corrections else None,
        )


def compare(path: Path, champion_version: ModelVersion | None, registry: Registry, rule: config.Release) -> Outcome:
    """Return the outcome of the comparison of a challenger with the champion.

    The challenger also wins if there is no champion, or one that cannot be loaded or has other classes. The champion
    wins if it learned all test photos, because no photo is left on which to compare the two.
    """
    if champion_version is None:
        return skip_comparison(path, "there was no champion")
    photos = select_unseen(LearnedPhotos.find(registry, champion_version))
    with TemporaryDirectory() as folder:
        champion_path = Path(folder) / "model.onnx"
        champion_path.write_bytes(registry.read_file(champion_version))
        return compare_files(path, champion_path, champion_version, photos, rule)


def compare_files(
    path: Path, champion_path: Path, champion_version: ModelVersion, photos: UnseenPhotos, rule: config.Release
) -> Outcome:
    """Return the outcome of the comparison of two files, or the reason why they cannot be compared."""
    challenger, champion, number = Classifier.load(path), load_or_none(champion_path), champion_version.version
    if champion is None:
        return skip_comparison(path, f"the serving code cannot load the champion, version {number}")
    if champion.metadata.class_names != challenger.metadata.class_names:
        return skip_comparison(path, f"the champion, version {number}, has other classes")
    if not photos.compared:
        reason = f"the champion, version {number}, learned all {photos.excluded} test photos"
        return skip_comparison(path, f"{reason}; `make promote` serves the challenger anyway", promoted=False)
    correct, champion_correct = (predict_correct(model, photos.rows) for model in (challenger, champion))
    corrections = compare_corrections(challenger, champion)
    comparison = Comparison(path, champion_path, champion_version, photos, correct, champion_correct, corrections)
    return comparison.summarize(rule)


def skip_comparison(path: Path, reason: str, *, promoted: bool = True) -> Outcome:
    """Return the outcome for a file that is not compared with the champion."""
    return Outcome(**describe_file(path), promoted=promoted, reason=reason)


def describe_file(path: Path) -> dict[str, Any]:
    """Return the values of an `Outcome` that identify a file."""
    version = Classifier.load(path).metadata.model_version
    return {"candidate": path.stem, "model_version": version, "sha256": sha256(path), "size_mb": megabytes(path)}


def decide_promotion(paired: Paired, size_ratio: float, growth: float | None, rule: config.Release) -> tuple[bool, str]:
    """Return whether to promote the challenger, and the reason. `size_ratio` is its file size over the champion's.

    `growth` is the relative increase of training photos over the champion's, or None if it is unknown. A challenger is
    promoted if it is better, if it loses no more than the margin and its file is clearly smaller, or if it is no worse
    on the test photos and was trained on clearly more photos. The champion wins a tie, because it has proven itself in
    production. Latency does not count, because its measurements are unreliable on a busy machine. Small losses of
    several releases could add up; for classes with limits, those of `verify` bound their sum.
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
        f"{paired.lost} (p = {paired.p_value:.3g}, at most {1 - rule.confidence:.3g} counts as better); with "
        f"{100 * rule.confidence:g} % confidence, the change of accuracy is at least {100 * bound:+.2f} points "
        f"(at least {-100 * rule.margin:+g} counts as equally good); the file has {100 * size_ratio:.0f} % of the "
        f"champion's size (at most {100 * (1 - rule.saving):g} % counts as smaller)"
    )
    return is_better or (is_as_good and is_smaller) or wins_by_growth, f"{verdict}: {figures}"


def explain_need(paired: Paired, errors: int, champion_photos: int | None, rule: config.Release) -> str:
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
    while Paired(photos=0, gained=gains, lost=lost).p_value > 1 - confidence:
        gains += 1
    return gains


def count_photos_to_show_equality(rule: config.Release) -> int:
    """Return the smallest number of test photos that shows a challenger with equal predictions to be as good."""
    # With no differing photo, the bound of Paired.lower_bound is -z * sqrt(1 - 0 / (N + 2)) / (N + 2).
    quantile = float(norm.ppf(rule.confidence))
    return max(1, math.ceil(quantile / rule.margin) - 2)
