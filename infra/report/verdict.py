"""What is an alarm: traffic unlike the reference, or an accuracy that is surely below what was released."""

from typing import Any

import numpy as np

from infra.report.drift import NUMBERS, Reference, judge
from infra.report.records import SIGNALS, Table

# Of 100 photos a fifth have to be different before it can be told from chance; of fewer still more.
MIN_PHOTOS = 100
MIN_LABELS = 200  # of 100, four wrong clicks of users would do
MARGIN = 0.01  # of accuracy, which photos from elsewhere cost: the second source is 0.6 points below the test split


def drift(requests: Table, reference: Reference | None) -> dict[str, Any]:
    """Judged for the version that the reference is of, on the lines that carry every signal."""
    if reference is None:
        return _not_judged("there is no reference")
    photos = _of(requests, reference).having("predicted_class")
    photos = photos.where(np.all([np.isfinite(photos[name]) for name in NUMBERS], axis=0))
    if len(photos) < MIN_PHOTOS:
        count = f"{len(photos)} predictions of {reference.model_version} with {', '.join(SIGNALS)}"
        return _not_judged(f"the log has {count}; expected {MIN_PHOTOS} or more")
    signals = judge(photos.columns, reference)
    return {
        "judged": True,
        "model_version": reference.model_version,
        "photos": len(photos),
        "reference_photos": len(reference),
        "signals": signals,
        "drifted": [name for name, found in signals.items() if found["drifted"]],
    }


def accuracy(quality: dict[str, Any] | None, reference: Reference | None) -> dict[str, Any]:
    """Judged on the labels of the version that the reference is of."""
    if reference is None:
        return _not_judged("there is no reference")
    labelled = quality["labelled"] if quality else 0
    if quality is None or labelled < MIN_LABELS:
        return _not_judged(
            f"{labelled} predictions of {reference.model_version} have a label; expected {MIN_LABELS} or more"
        )
    limit = reference.accuracy - MARGIN
    return {
        "judged": True,
        "model_version": reference.model_version,
        "upper_bound": quality["accuracy_interval"][1],
        "released": reference.accuracy,
        "limit": limit,
        "alarm": quality["accuracy_interval"][1] < limit,
    }


def without_reference(requests: Table, reference: Reference | None) -> list[str]:
    """The versions that answered and cannot be judged."""
    known = reference.model_version if reference else None
    return sorted({str(version) for version in requests["model_version"].tolist()} - {known})


def alarms(drift: dict[str, Any], accuracy: dict[str, Any]) -> list[dict[str, str]]:
    found = []
    if accuracy.get("alarm"):
        said = (
            f"at most {accuracy['upper_bound']:.2%} of the labelled photos are right; expected {accuracy['limit']:.2%}"
        )
        found.append({"alarm": "accuracy", "message": said})
    if drifted := drift.get("drifted"):
        worst = sorted(drifted, key=lambda name: -drift["signals"][name]["distance"] / drift["signals"][name]["limit"])
        said = f"{drift['photos']} photos are unlike the reference in {', '.join(worst)}"
        found.append({"alarm": "drift", "message": said})
    return found


def _of(requests: Table, reference: Reference) -> Table:
    return requests.where(requests["model_version"] == reference.model_version)


def _not_judged(reason: str) -> dict[str, Any]:
    return {"judged": False, "reason": reason}
