"""Decide whether the report raises an alarm, and whether to retrain.

An alarm means that the traffic differs from the reference, or that the accuracy is significantly below that of the
release. Lower accuracy always triggers retraining; drift triggers it only if it may reduce accuracy.
"""

from typing import Any

from pandas import DataFrame

from infra.report.drift import SIGNAL_COLUMNS, measure_drift
from infra.report.reference import Reference
from lambda_app.signals import NUMERIC_FIELDS

# With 100 photos, a fifth of them must differ before drift is distinguishable from chance; with fewer, even more.
MIN_PHOTOS = 100
MIN_LABELS = 200  # with 100, four wrong labels would raise an alarm
MARGIN = 0.01  # tolerated loss of accuracy; photos from a second source score 0.6 points below the test split
# Clients choose these. Photos from phones, or more dogs than cats, raise an alarm but do not reduce accuracy.
CLIENT_CHOICES = frozenset({"photo_bytes", "photo_width", "photo_height", "predicted_class"})


def select_photos(requests: DataFrame, version: str) -> DataFrame:
    """Return the predictions of a version whose log lines have every signal."""
    return requests[requests["model_version"] == version].dropna(subset=SIGNAL_COLUMNS)


def judge_drift(requests: DataFrame, serving: str | None, reference: Reference | None) -> dict[str, Any]:
    """Compare the photos of the serving version with its reference."""
    if serving is None or reference is None:
        return _not_judged(_missing_reference(serving))
    photos = select_photos(requests, serving)
    if len(photos) < MIN_PHOTOS:
        count = f"{len(photos)} predictions of {serving} with {', '.join(NUMERIC_FIELDS)}"
        return _not_judged(f"the log has {count}; expected {MIN_PHOTOS} or more")
    signals = measure_drift({name: photos[name].to_numpy() for name in SIGNAL_COLUMNS}, reference)
    return {
        "judged": True,
        "model_version": serving,
        "photos": len(photos),
        "reference": reference.description,
        "reference_photos": len(reference),
        "signals": signals,
        "drifted": [name for name, figures in signals.items() if figures["drifted"]],
    }


def judge_accuracy(quality: dict[str, Any] | None, serving: str | None, reference: Reference | None) -> dict[str, Any]:
    """Compare the accuracy of the serving version, by its labels, with that on its test photos."""
    if serving is None or reference is None:
        return _not_judged(_missing_reference(serving))
    labels = quality["labels"] if quality else 0
    if quality is None or labels < MIN_LABELS:
        return _not_judged(f"{labels} predictions of {serving} have a label; expected {MIN_LABELS} or more")
    limit = reference.accuracy - MARGIN
    return {
        "judged": True,
        "model_version": serving,
        "labels": labels,
        "accuracy": quality["accuracy"],
        "upper_bound": quality["accuracy_interval"][1],
        "released": reference.accuracy,
        "limit": limit,
        "alarm": quality["accuracy_interval"][1] < limit,
        # Compare the measured accuracy, not its lower bound: an unchanged model would need 480 labels a week (2,400 at
        # an accuracy of 99.2 %) for the bound to reach the limit. A model that dropped to 97.5 % passes in 12 % of
        # weeks with 200 labels and in 2 % with 600.
        "holds": quality["accuracy"] >= limit,
    }


def list_alarms(drift: dict[str, Any], accuracy: dict[str, Any]) -> list[dict[str, str]]:
    alarms = []
    if accuracy.get("alarm"):
        message = (
            f"the accuracy on labeled photos is at most {100 * accuracy['upper_bound']:.2f} %; "
            f"expected {100 * accuracy['limit']:.2f} % or more"
        )
        alarms.append({"alarm": "accuracy", "message": message})
    if drifted := drift.get("drifted"):
        ranked = sorted(drifted, key=lambda name: -drift["signals"][name]["ratio"])
        message = f"{drift['photos']} photos differ from the {drift['reference']} in {', '.join(ranked)}"
        alarms.append({"alarm": "drift", "message": message})
    return alarms


def decide_retraining(drift: dict[str, Any], accuracy: dict[str, Any]) -> tuple[bool, str]:
    """Return whether to retrain, and the reason."""
    drifted = [name for name in drift.get("drifted", ()) if name not in CLIENT_CHOICES]
    if accuracy.get("alarm"):
        return True, "the accuracy is lower than at the release"
    if not drift["judged"]:
        return False, "there is too little data or no reference"
    if not drifted:
        return False, "only photo size or class mix drifted" if drift["drifted"] else "nothing drifted"
    if not accuracy["judged"]:
        return True, f"{', '.join(drifted)} drifted, and there are too few labels to confirm the accuracy"
    if accuracy["holds"]:
        return False, f"{', '.join(drifted)} drifted, but {accuracy['labels']} labels confirm the accuracy"
    measured = f"{100 * accuracy['accuracy']:.2f} % of {accuracy['labels']} labeled photos are correct"
    return True, f"{', '.join(drifted)} drifted, and the labels do not confirm the accuracy: {measured}"


def _missing_reference(serving: str | None) -> str:
    return f"no reference of {serving} exists here or in Git's history" if serving else "the log has no request"


def _not_judged(reason: str) -> dict[str, Any]:
    return {"judged": False, "reason": reason}
