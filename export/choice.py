"""Which candidate is released: int8 where it is faster and as good, else fp16 where that is as good, else fp32."""

from collections.abc import Mapping
from typing import Any

from training.config import Verify

Figures = dict[str, Any]


def choose(figures: Mapping[str, Figures], limits: Verify) -> tuple[str, str]:
    """Which to release, and why: int8 if it is faster here and as good on every set, else fp16 if that is as good.

    On a test split of fewer than `min_photos` int8 is not trusted: how good it is would be a matter of one photo.
    """
    ratio = figures["int8"]["latency_ms"] / figures["fp32"]["latency_ms"]
    photos = figures["int8"]["sets"]["test"]["photos"]
    as_good, reason = judge("int8", figures, limits.max_accuracy_loss)
    if photos < limits.min_photos:
        refusal = f"{photos} test photos are too few to trust int8"
    elif as_good and ratio < 1:
        return "int8", f"{reason} and takes {ratio:.2f} times as long as fp32"
    else:
        refusal = f"int8 takes {ratio:.2f} times as long as fp32" if as_good else reason
    as_good, reason = judge("fp16", figures, limits.max_accuracy_loss)
    return "fp16" if as_good else "fp32", f"{refusal}; {reason}"


def judge(name: str, figures: Mapping[str, Figures], max_loss: float) -> tuple[bool, str]:
    """Whether a candidate is as good as fp32 on every set, in words too."""
    worst, loss = largest_loss(figures[name], figures["fp32"])
    if round(loss, 9) <= max_loss:
        return True, f"{name} loses {100 * max(0, loss):.2f} % of a set at most"
    return False, f"{name} loses {100 * loss:.2f} % of {worst}; verify.max_accuracy_loss allows {100 * max_loss:.2f} %"


def largest_loss(candidate: Figures, fp32: Figures) -> tuple[str, float]:
    """The set on which it loses most against fp32, and how much, as a share."""
    losses = {name: scores["accuracy"] - candidate["sets"][name]["accuracy"] for name, scores in fp32["sets"].items()}
    worst = max(losses, key=lambda name: losses[name])
    return worst, losses[worst]
