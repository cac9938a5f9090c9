"""The gates of the released file: how good, how steady, how large and how slow it may be."""

from collections.abc import Mapping
from typing import Any

from export.checks.behavior import TOLERANCE
from export.checks.gates import Gate, by_set
from training import config
from training.metrics import wilson

Figures = dict[str, Any]


def sort(released: Figures, class_names: tuple[str, ...], limits: config.Verify) -> tuple[Figures, list[str]]:
    """The sets that can be held against the limits, and in words those that cannot."""
    if set(class_names) != {name.lower() for name in limits.classes}:
        ours, theirs = (" and ".join(sorted(names)) for names in (class_names, limits.classes))
        return {"sets": {}, "outliers": {}}, [f"quality; the limits are for {theirs}, the classes are {ours}"]
    large = {
        kind: {name: figures for name, figures in released[kind].items() if figures["photos"] >= limits.min_photos}
        for kind in ("sets", "outliers")
    }
    small = [
        f"{name}; it has {figures['photos']} photos, and the limits want {limits.min_photos}"
        for kind, found in large.items()
        for name, figures in released[kind].items()
        if name not in found
    ]
    return large, small


def quality(judged: Figures, limits: config.Verify) -> list[Gate]:
    sets = judged["sets"]
    accuracy, unknown = ({name: figures[key] for name, figures in sets.items()} for key in ("accuracy", "unknown_rate"))
    recognised = {name: figures["recognised"] for name, figures in judged["outliers"].items()}
    key = "verify.max_calibration_error in params.yaml"
    return [
        *by_set("accuracy", "min_accuracy", limits.min_accuracy, accuracy),
        *by_set("unknown_rate", "max_unknown_rate", limits.max_unknown_rate, unknown),
        *by_set("recognised", "min_unknown_rate", limits.min_unknown_rate, recognised),
        *(
            Gate(f"calibration_error_{name}", figures["calibration_error"], limits.max_calibration_error, key)
            for name, figures in sets.items()
            if name == "test"
        ),
    ]


def better_than_guessing(test: Figures, labels: list[int]) -> Gate:
    """Of few photos too: the lower end of accuracy's 95 % interval against always saying the most frequent class."""
    low, _ = wilson(round(test["accuracy"] * len(labels)), len(labels))
    guessing = max(map(labels.count, set(labels))) / len(labels)
    return Gate(
        "surely_better_than_guessing",
        low,
        guessing,
        "fixed: it has learnt nothing, or was shown too few photos",
        at_least=True,
    )


def cost(released: Figures, fp32: Figures, limits: config.Verify) -> list[Gate]:
    """fp16 computes what fp32 does, and measures a few percent more or less: the limit has to leave room for that."""
    ratio = released["latency_ms"] / fp32["latency_ms"]
    return [
        Gate("size_mb", released["size_mb"], limits.max_size_mb, "verify.max_size_mb in params.yaml"),
        Gate("latency_ratio", ratio, limits.max_latency_ratio, "verify.max_latency_ratio in params.yaml"),
    ]


def steadiness(agreement: Mapping[str, float], limits: config.Verify) -> list[Gate]:
    key, limit = "verify.min_agreement in params.yaml", limits.min_agreement
    return [Gate(f"same_class_{edit}", share, limit, key, at_least=True) for edit, share in agreement.items()]


def constancy(difference: Mapping[str, float]) -> list[Gate]:
    return [
        Gate(f"difference_{what}", measured, TOLERANCE[what], "fixed: export/checks/behavior.py")
        for what, measured in difference.items()
    ]
