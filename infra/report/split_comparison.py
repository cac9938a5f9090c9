"""Compare the two model versions that share the traffic, and recommend a promotion, further testing or a rollback.

The comparison uses only hours in which both versions answered. In these hours, both receive the same kind of traffic,
because the alias selects the version of each request at random.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import numpy as np
from pandas import DataFrame

from infra.report import label_metrics, traffic
from infra.report.alarms import MARGIN
from infra.report.difference import Counts, compute_interval, decide, is_above, trials_to_decision
from infra.report.log_reader import Column

HOUR = 3600
MIN_HOURS = 3  # more than a canary deployment: it takes at most half an hour, which touches at most two clock hours
# The false-alarm probabilities of the tests of accuracy and of server errors. Together, they recommend the rollback of
# an equal challenger in at most 5 % of all splits.
ACCURACY_ALPHA, ERRORS_ALPHA = 0.04, 0.01
ERRORS_MARGIN = 0.001  # tolerated difference of the rate of server errors
LEAD_HOURS = 12  # SINCE= must precede the split by this; `make split` proposes a day
CALIBRATION_BINS = 10
PROMOTE, KEEP, ROLL_BACK = "promote", "keep testing", "roll back"


def compare_versions(
    requests: DataFrame, labeled: DataFrame, serving: str | None, since: datetime | None
) -> dict[str, Any]:
    """Return the figures of the champion and of the challenger, their differences, and the recommendation.

    The champion is the serving version. The challenger is the version that shares the most hours with the champion.
    """
    if not serving or not (shared := _find_shared_hours(requests, serving)):
        return _not_compared("fewer than two model versions answered in this period")
    challenger = max(shared, key=lambda name: len(shared[name]))
    hours = shared[challenger]
    if len(hours) < MIN_HOURS:
        return _not_compared(
            f"{serving} and {challenger} both answered in {len(hours)} hours; expected {MIN_HOURS} or more"
        )
    figures = {name: _version_figures(requests, labeled, name, hours) for name in (serving, challenger)}
    return {
        "compared": True,
        "champion": serving,
        "challenger": challenger,
        "from": _format_hour(hours[0]),
        "to": _format_hour(hours[-1] + 1),
        "hours": len(hours),
        "figures": figures,
        **_judge(
            figures[serving], figures[challenger], may_miss_labels=_may_miss_labels(requests, hours[0] * HOUR, since)
        ),
    }


def _judge(champion: Mapping[str, Any], challenger: Mapping[str, Any], *, may_miss_labels: bool) -> dict[str, Any]:
    """Return the challenger's share, the differences between the figures, and the recommendation."""
    labels, error_free = _count_correct(champion, challenger), _count_without_error(champion, challenger)
    return {
        "share": challenger["requests"] / (champion["requests"] + challenger["requests"]),
        "differences": {
            "accuracy": _difference(labels, ACCURACY_ALPHA),
            "server_error_rate": _difference(error_free, ERRORS_ALPHA),
        },
        "margin": MARGIN,
        **_recommend(labels, error_free, may_miss_labels=may_miss_labels),
    }


def _find_shared_hours(requests: DataFrame, serving: str) -> dict[str, Column]:
    """Return, for each other version, the hours in which both this version and the serving version answered."""
    times = requests.groupby("model_version", sort=False)["time"]
    hours = {version: np.unique(part // HOUR) for version, part in times}
    champion = hours.pop(serving)
    return {version: np.intersect1d(champion, own) for version, own in hours.items()}


def _version_figures(requests: DataFrame, labeled: DataFrame, version: str, hours: Column) -> dict[str, Any]:
    """Return the figures of a version in the hours."""
    requests = requests[(requests["model_version"] == version) & np.isin(requests["time"] // HOUR, hours)]
    labeled = labeled[(labeled["model_version"] == version) & np.isin(labeled["predicted_at"] // HOUR, hours)]
    figures = traffic.traffic_figures(requests) | label_metrics.accuracy_figures(labeled)
    failures = int((requests["status"] >= 500).sum())
    rate = failures / figures["requests"] if figures["requests"] else None
    shares = {name: count / figures["predictions"] for name, count in figures["classes"].items()}
    calibration = label_metrics.calibration_figures(labeled, CALIBRATION_BINS)
    return {**figures, **calibration, "class_shares": shares, "server_errors": failures, "server_error_rate": rate}


def _count_correct(champion: Mapping[str, Any], challenger: Mapping[str, Any]) -> Counts:
    numbers = [(round(each["labels"] * (each["accuracy"] or 0)), each["labels"]) for each in (champion, challenger)]
    return Counts(*numbers[0], *numbers[1])


def _count_without_error(champion: Mapping[str, Any], challenger: Mapping[str, Any]) -> Counts:
    """Count requests without a server error as hits, because the test expects few misses.

    Champion and challenger are swapped, so that the difference is positive if the challenger has more server errors.
    """
    numbers = [(each["requests"] - each["server_errors"], each["requests"]) for each in (challenger, champion)]
    return Counts(*numbers[0], *numbers[1])


def _difference(counts: Counts, alpha: float) -> dict[str, Any]:
    bounds = compute_interval(counts, alpha)
    return {"difference": float(counts.difference()) if bounds else None, "interval": bounds, "level": 1 - alpha}


def _recommend(labels: Counts, error_free: Counts, *, may_miss_labels: bool) -> dict[str, Any]:
    """Return the recommendation, its reason, and how many more labels a decision by accuracy needs."""
    if may_miss_labels:
        reason = "the test needs all labels of the split; set SINCE= to a day before it began"
        return {"recommendation": KEEP, "reason": reason, "labels_needed": None}
    is_worse, is_noninferior = decide(labels, MARGIN, ACCURACY_ALPHA)
    needed = 0 if is_worse or is_noninferior else trials_to_decision(labels, MARGIN, ACCURACY_ALPHA)
    if is_above(error_free, ERRORS_MARGIN, ERRORS_ALPHA):
        recommendation, reason = ROLL_BACK, f"the challenger has over {100 * ERRORS_MARGIN:g} points more server errors"
    elif is_worse:
        recommendation, reason = ROLL_BACK, "the challenger's accuracy is lower"
    elif is_noninferior:
        reason = f"the challenger's accuracy is higher, or less than {100 * MARGIN:g} point lower"
        recommendation = PROMOTE
    else:
        recommendation, reason = KEEP, _explain_missing(needed)
    return {"recommendation": recommendation, "reason": reason, "labels_needed": needed}


def _explain_missing(needed: int | None) -> str:
    if needed is None:
        return "both versions need labels, or their accuracies differ by almost exactly the margin"
    return f"a decision needs about {needed:,} more labels if both accuracies do not change"


def _may_miss_labels(requests: DataFrame, split_start: float, since: datetime | None) -> bool:
    """Return whether labels of the split may be missing, because both versions answer in the period's first hours.

    Without `since`, the period begins with the first line of the log.
    """
    start = since.timestamp() if since else float(requests["time"].min())
    return split_start - start < LEAD_HOURS * HOUR


def _format_hour(hour: float) -> str:
    return datetime.fromtimestamp(hour * HOUR, UTC).isoformat(timespec="minutes")


def _not_compared(reason: str) -> dict[str, Any]:
    return {"compared": False, "reason": reason}
