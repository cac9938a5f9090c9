"""Decide whether a candidate replaces the champion: both predict the test photos that are new to both of them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from mlflow.entities.model_registry import ModelVersion

from export.checks.comparison import Paired, decide_promotion, explain_need, load_or_none, predict_correct
from export.checks.corrections import compare_corrections, decide_with_corrections
from export.checks.unseen_photos import select_unseen
from export.convert import megabytes
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
    champion: dict[str, Any] | None = None  # the same values of the champion it was compared with
    paired: dict[str, Any] | None = None  # see export.checks.comparison.Paired
    excluded: int | None = None  # test photos that the champion learned; None if that is not known
    corrections: dict[str, Any] | None = None  # see export.checks.corrections.Corrections


def compare(path: Path, champion: ModelVersion | None, registry: Registry, rule: config.Release) -> Outcome:
    """Return the outcome of the comparison.

    The challenger also wins if there is no champion, or one that cannot be loaded or has other classes. The champion
    wins if it learned all test photos, because none is left to compare them on.
    """
    if champion is None:
        return skip_comparison(path, "there was no champion")
    with TemporaryDirectory() as folder:
        champion_path = Path(folder) / "model.onnx"
        champion_path.write_bytes(registry.read_file(champion))
        challenger, opponent = Classifier.load(path), load_or_none(champion_path)
        if opponent is None:
            return skip_comparison(path, f"the serving code cannot load the champion, version {champion.version}")
        if opponent.metadata.class_names != challenger.metadata.class_names:
            return skip_comparison(path, f"the champion, version {champion.version}, has other classes")
        photos = select_unseen(LearnedPhotos.find(registry, champion))
        if not photos.compared:
            reason = f"the champion, version {champion.version}, learned all {photos.excluded} test photos"
            return skip_comparison(path, f"{reason}; `make promote` serves the challenger anyway", promoted=False)
        correct, opponent_correct = (predict_correct(model, photos.rows) for model in (challenger, opponent))
        paired = Paired.from_answers(correct, opponent_correct)
        known = int(champion.tags[PHOTO_COUNT]) if PHOTO_COUNT in champion.tags else None
        growth = count_training_photos(photos.rows) / known - 1 if known and not photos.are_few else None
        promoted, reason = decide_promotion(paired, megabytes(path) / megabytes(champion_path), growth, rule)
        decision = promoted, reason + photos.describe()
        corrections = compare_corrections(challenger, opponent)
        promoted, reason = decide_with_corrections(decision, paired, corrections, rule)
        if not promoted:
            reason += f"; {explain_need(paired, int((~opponent_correct).sum()), known, rule)}"
        opponent_accuracy = {"candidate": champion.tags.get("candidate"), "accuracy": float(opponent_correct.mean())}
        return Outcome(
            **describe_file(path),
            promoted=promoted,
            reason=reason,
            accuracy=float(correct.mean()),
            champion=describe_file(champion_path) | opponent_accuracy,
            paired=paired.summarize(rule.confidence),
            excluded=photos.excluded,
            corrections=corrections.summarize() if corrections else None,
        )


def count_training_photos(rows: Iterable[Mapping[str, str]]) -> int:
    return sum(row["split"] == "train" for row in rows)


def skip_comparison(path: Path, reason: str, *, promoted: bool = True) -> Outcome:
    """Return the outcome for a file that is not compared with the champion."""
    return Outcome(**describe_file(path), promoted=promoted, reason=reason)


def describe_file(path: Path) -> dict[str, Any]:
    version = Classifier.load(path).metadata.model_version
    return {"candidate": path.stem, "model_version": version, "sha256": sha256(path), "size_mb": megabytes(path)}
