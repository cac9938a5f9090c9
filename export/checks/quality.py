"""Check the quality, robustness, size and latency of the candidate that `verify` selected."""

from collections.abc import Mapping

from export.candidate_selection import filter_large_sets
from export.checks.behavior import TOLERANCE
from export.checks.gates import Gate, make_set_gates
from training import config
from training.figures import Figures
from training.metrics import wilson_interval


def select_judged_sets(
    selected: Figures, class_names: tuple[str, ...], limits: config.Verify
) -> tuple[Figures, list[str]]:
    """Return the figures of the sets that the limits apply to, and the reasons why others are not judged."""
    if set(class_names) != {name.lower() for name in limits.classes}:
        actual, expected = (" and ".join(sorted(names)) for names in (class_names, limits.classes))
        reason = f"quality, because the limits are for {expected} and the classes are {actual}"
        return {"sets": {}, "outliers": {}}, [reason]
    large = {kind: filter_large_sets(selected[kind], limits.min_photos) for kind in ("sets", "outliers")}
    reasons = [
        f"{name}, because it has {figures['photos']} photos and the limits require {limits.min_photos}"
        for kind, found in large.items()
        for name, figures in selected[kind].items()
        if name not in found
    ]
    return large, reasons


def check_quality(judged: Figures, limits: config.Verify) -> list[Gate]:
    """Return the gates for accuracy, unknown rates and calibration error."""
    sets = judged["sets"]
    accuracy, unknown = ({name: figures[key] for name, figures in sets.items()} for key in ("accuracy", "unknown_rate"))
    outliers = {name: figures["unknown_rate"] for name, figures in judged["outliers"].items()}
    hint = "verify.max_calibration_error in params.yaml"
    return [
        *make_set_gates("accuracy", "min_accuracy", limits.min_accuracy, accuracy),
        *make_set_gates("unknown_rate", "max_unknown_rate", limits.max_unknown_rate, unknown),
        *make_set_gates("unknown_rate", "min_unknown_rate", limits.min_unknown_rate, outliers),
        *(
            [Gate("calibration_error_test", sets["test"]["calibration_error"], limits.max_calibration_error, hint)]
            if "test" in sets
            else []
        ),
    ]


def check_better_than_guessing(test: Figures, labels: list[int]) -> Gate:
    """Return a gate on the lower end of the 95 % interval of the accuracy, which also applies to small test splits.

    The limit is the accuracy of always predicting the most frequent class.
    """
    low, _ = wilson_interval(round(test["accuracy"] * len(labels)), len(labels))
    baseline = max(map(labels.count, set(labels))) / len(labels)
    hint = "constant limit: the network has learned nothing, or the test split has too few photos"
    return Gate("significantly_better_than_guessing", low, baseline, hint, at_least=True)


def check_cost(selected: Figures, fp32: Figures, limits: config.Verify) -> list[Gate]:
    """Return the gates for file size and for latency relative to fp32.

    fp16 runs the same float32 operations as fp32, yet its measured latency differs by a few percent. The limit on the
    ratio must allow for that.
    """
    ratio = selected["latency_ms"] / fp32["latency_ms"]
    return [
        Gate("size_mb", selected["size_mb"], limits.max_size_mb, "verify.max_size_mb in params.yaml"),
        Gate("latency_ratio", ratio, limits.max_latency_ratio, "verify.max_latency_ratio in params.yaml"),
    ]


def check_agreement(agreement: Mapping[str, float], limits: config.Verify) -> list[Gate]:
    """Return a gate for each edit on the share of photos that keep their class."""
    hint, limit = "verify.min_agreement in params.yaml", limits.min_agreement
    return [Gate(f"same_class_{edit}", share, limit, hint, at_least=True) for edit, share in agreement.items()]


def check_consistency(differences: Mapping[str, float]) -> list[Gate]:
    """Return a gate for each way of batching on the largest difference of a probability."""
    return [
        Gate(f"difference_{name}", measured, TOLERANCE[name], "constant limit: TOLERANCE in export/checks/behavior.py")
        for name, measured in differences.items()
    ]
