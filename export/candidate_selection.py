"""Which candidate is released: int8 where it is faster and as good, else fp16 where that is as good, else fp32."""

from collections.abc import Mapping
from typing import Any

from training.config import Verify

Figures = dict[str, Any]


def choose(figures: Mapping[str, Figures], limits: Verify) -> tuple[str, str]:
    """Which to release, and why: int8 if it is faster here and as good on every set, else fp16 if that is as good.

    Sets of fewer than `min_photos` say nothing of it: on those, one photo would decide.
    """
    ratio = figures["int8"]["latency_ms"] / figures["fp32"]["latency_ms"]
    if not large_sets(figures["fp32"], limits.min_photos):
        return "fp16", f"no set has the {limits.min_photos} photos that it takes to trust int8"
    as_good, reason = judge("int8", figures, limits)
    if as_good and ratio < 1:
        return "int8", f"{reason} and takes {ratio:.2f} times as long as fp32"
    refusal = f"int8 takes {ratio:.2f} times as long as fp32" if as_good else reason
    as_good, reason = judge("fp16", figures, limits)
    return "fp16" if as_good else "fp32", f"{refusal}; {reason}"


def large_sets(figures: Figures, photos: int) -> Figures:
    return {name: scores for name, scores in figures["sets"].items() if scores["photos"] >= photos}


def judge(name: str, figures: Mapping[str, Figures], limits: Verify) -> tuple[bool, str]:
    """Whether a candidate is as good as fp32 on every large set, in words too."""
    candidate, fp32 = (large_sets(figures[which], limits.min_photos) for which in (name, "fp32"))
    losses = {which: scores["accuracy"] - candidate[which]["accuracy"] for which, scores in fp32.items()}
    worst = max(losses, key=lambda which: losses[which])
    loss, allowed = 100 * losses[worst], 100 * limits.max_accuracy_loss
    if round(loss - allowed, 7) <= 0:
        return True, f"{name} loses {max(0, loss):.2f} % of a set at most"
    return False, f"{name} loses {loss:.2f} % of {worst}; verify.max_accuracy_loss allows {allowed:.2f} %"
