"""Select the candidate to release: int8 if it is faster and as accurate, else fp16 if as accurate, else fp32."""

from collections.abc import Mapping

from training.config import Verify
from training.figures import Figures


def select_candidate(figures: Mapping[str, Figures], limits: Verify) -> tuple[str, str]:
    """Return the name of the candidate to release and the reason.

    int8 must be faster than fp32 on this machine and as accurate on every set; fp16 must be as accurate. Sets of fewer
    than `min_photos` photos are ignored, because a single photo would decide on them. If no set is left, the candidate
    is fp16, whose outputs differ little from those of fp32.
    """
    ratio = figures["int8"]["latency_ms"] / figures["fp32"]["latency_ms"]
    if not filter_large_sets(figures["fp32"]["sets"], limits.min_photos):
        return "fp16", f"no set has the {limits.min_photos} photos needed to trust int8"
    is_accurate, reason = compare_accuracy("int8", figures, limits)
    if is_accurate and ratio < 1:
        return "int8", f"{reason} and takes {ratio:.2f} times as long as fp32"
    rejection = f"int8 takes {ratio:.2f} times as long as fp32" if is_accurate else reason
    is_accurate, reason = compare_accuracy("fp16", figures, limits)
    return "fp16" if is_accurate else "fp32", f"{rejection}; {reason}"


def filter_large_sets(sets: Figures, min_photos: int) -> Figures:
    """Return the scores of the sets that have at least `min_photos` photos, by set."""
    return {name: scores for name, scores in sets.items() if scores["photos"] >= min_photos}


def compare_accuracy(name: str, figures: Mapping[str, Figures], limits: Verify) -> tuple[bool, str]:
    """Return whether a candidate is as accurate as fp32 on every large set, and the reason."""
    candidate, fp32 = (filter_large_sets(figures[file_name]["sets"], limits.min_photos) for file_name in (name, "fp32"))
    losses = {set_name: scores["accuracy"] - candidate[set_name]["accuracy"] for set_name, scores in fp32.items()}
    worst = max(losses, key=lambda set_name: losses[set_name])
    loss, allowed = 100 * losses[worst], 100 * limits.max_accuracy_loss
    if round(loss - allowed, 7) <= 0:
        return True, f"{name} loses at most {max(0, loss):.2f} points of accuracy on any set"
    return (
        False,
        f"{name} loses {loss:.2f} points of accuracy on {worst}; verify.max_accuracy_loss allows {allowed:.2f}",
    )
