"""Decide whether a challenger replaces the champion. Both predict the test photos from which neither has learned."""

from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from mlflow.entities.model_registry import ModelVersion
from numpy.typing import NDArray

from export.checks.comparison import Paired, decide_promotion, explain_need, load_or_none, predict_correct
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

    candidate: str  # int8, fp16 or fp32
    model_version: str
    sha256: str
    size_mb: float
    promoted: bool
    reason: str
    accuracy: float | None = None  # on the test photos that neither model learned; None without a comparison
    champion: dict[str, Any] | None = None  # the same values of the champion; None without a comparison
    paired: dict[str, Any] | None = None  # see export.checks.comparison.Paired
    excluded: int | None = None  # test photos that the champion learned; None if that is not known
    corrections: dict[str, Any] | None = None  # see export.checks.corrections.Corrections


@dataclass(frozen=True)
class Comparison:
    """The answers of challenger and champion to the same photos."""

    challenger_path: Path
    champion_path: Path
    champion_version: ModelVersion
    photos: UnseenPhotos
    challenger_correct: NDArray[np.bool_]  # (N,), whether each prediction is correct
    champion_correct: NDArray[np.bool_]
    corrections: Corrections | None

    @property
    def paired(self) -> Paired:
        return Paired.from_answers(self.challenger_correct, self.champion_correct)

    @property
    def champion_photos(self) -> int | None:
        """Return how many photos the champion was trained on, or None if that is unknown."""
        tags = self.champion_version.tags
        return int(tags[PHOTO_COUNT]) if PHOTO_COUNT in tags else None

    @property
    def growth(self) -> float | None:
        """Return the relative increase of training photos, or None if it is unknown or too few test photos remain."""
        if not self.champion_photos or self.photos.are_few:
            return None
        trained = sum(row.split == "train" for row in self.photos.rows)
        return (trained - self.champion_photos) / self.champion_photos

    def decide(self, rule: config.Release) -> tuple[bool, str]:
        """Return whether to promote the challenger, and the reason."""
        size_ratio = megabytes(self.challenger_path) / megabytes(self.champion_path)
        promoted, reason = decide_promotion(self.paired, size_ratio, self.growth, rule)
        decision = promoted, reason + self.photos.describe()
        promoted, reason = decide_with_corrections(decision, self.paired, self.corrections, rule)
        if not promoted:
            errors = int((~self.champion_correct).sum())
            champion_photos = self.champion_photos if self.growth is not None else None
            reason += f"; {explain_need(self.paired, errors, champion_photos, rule)}"
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
    wins if it learned all test photos, because none is left to compare them on.
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
