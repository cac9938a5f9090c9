"""What is an alarm, and what asks for another training.

An alarm is traffic unlike what is known, or an accuracy that is surely below what was released. Retraining answers the
second, and the first where it may cost accuracy.
"""

from typing import Any

import numpy as np

from infra.report.drift import NUMBERS, Reference, judge
from infra.report.log_reader import SIGNALS, Table

# Of 100 photos a fifth have to be different before it can be told from chance; of fewer still more.
MIN_PHOTOS = 100
MIN_LABELS = 200  # of 100, four wrong clicks of users would do
MARGIN = 0.01  # of accuracy, which photos from elsewhere cost: the second source is 0.6 points below the test split
# What clients choose. Photos as large as a phone's, or more dogs than cats, are worth a look, and cost no accuracy.
CHOSEN = frozenset({"photo_bytes", "photo_width", "photo_height", "predicted_class"})


def photos(requests: Table, version: str) -> Table:
    """The predictions of the version whose lines carry every signal."""
    found = requests.where(requests["model_version"] == version).having("predicted_class")
    return found.where(np.all([np.isfinite(found[name]) for name in NUMBERS], axis=0))


def drift(requests: Table, serving: str | None, known: Reference | None) -> dict[str, Any]:
    """Of the version that serves, against what is known of it."""
    if serving is None or known is None:
        return _not_judged(_unknown(serving))
    ours = photos(requests, serving)
    if len(ours) < MIN_PHOTOS:
        count = f"{len(ours)} predictions of {serving} with {', '.join(SIGNALS)}"
        return _not_judged(f"the log has {count}; expected {MIN_PHOTOS} or more")
    signals = judge(ours.columns, known)
    return {
        "judged": True,
        "model_version": serving,
        "photos": len(ours),
        "reference": known.what,
        "reference_photos": len(known),
        "signals": signals,
        "drifted": [name for name, found in signals.items() if found["drifted"]],
    }


def accuracy(quality: dict[str, Any] | None, serving: str | None, reference: Reference | None) -> dict[str, Any]:
    """By the labels of the version that serves, against its test photos."""
    if serving is None or reference is None:
        return _not_judged(_unknown(serving))
    labelled = quality["labelled"] if quality else 0
    if quality is None or labelled < MIN_LABELS:
        return _not_judged(f"{labelled} predictions of {serving} have a label; expected {MIN_LABELS} or more")
    limit = reference.accuracy - MARGIN
    return {
        "judged": True,
        "model_version": serving,
        "labelled": labelled,
        "accuracy": quality["accuracy"],
        "upper_bound": quality["accuracy_interval"][1],
        "released": reference.accuracy,
        "limit": limit,
        "alarm": quality["accuracy_interval"][1] < limit,
        # What was seen, not the lower bound, for which a model that is as right as released would need 480 labels a
        # week, and one of 99.2 % 2,400. One that fell to 97.5 % is seen above the limit in 12 of 100 weeks of 200
        # labels, in 2 of 600.
        "holds": quality["accuracy"] >= limit,
    }


def alarms(drift: dict[str, Any], accuracy: dict[str, Any]) -> list[dict[str, str]]:
    found = []
    if accuracy.get("alarm"):
        said = (
            f"at most {accuracy['upper_bound']:.2%} of the labelled photos are right; expected {accuracy['limit']:.2%}"
        )
        found.append({"alarm": "accuracy", "message": said})
    if drifted := drift.get("drifted"):
        worst = sorted(drifted, key=lambda name: -drift["signals"][name]["ratio"])
        said = f"{drift['photos']} photos are unlike the {drift['reference']} in {', '.join(worst)}"
        found.append({"alarm": "drift", "message": said})
    return found


def retrain(drift: dict[str, Any], accuracy: dict[str, Any]) -> tuple[bool, str]:
    """Whether to, and why."""
    drifted = [name for name in drift.get("drifted", ()) if name not in CHOSEN]
    if accuracy.get("alarm"):
        return True, "fewer photos are right than were when the model was released"
    if not drift["judged"]:
        return False, "there is nothing to judge by"
    if not drifted:
        return False, "nothing drifted but size or class mix" if drift["drifted"] else "nothing drifted"
    if not accuracy["judged"]:
        return True, f"{', '.join(drifted)} drifted, and no labels say that accuracy holds"
    if accuracy["holds"]:
        return False, f"{', '.join(drifted)} drifted, yet by {accuracy['labelled']} labels accuracy holds"
    said = f"{100 * accuracy['accuracy']:.2f} % of {accuracy['labelled']} labelled photos are right"
    return True, f"{', '.join(drifted)} drifted, and labels cannot tell whether accuracy holds: {said}"


def _unknown(serving: str | None) -> str:
    return f"there is no reference of {serving}, here or in Git's history" if serving else "there was no request"


def _not_judged(reason: str) -> dict[str, Any]:
    return {"judged": False, "reason": reason}
