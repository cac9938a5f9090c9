"""Test the selection of the candidate to release."""

from dataclasses import replace

import pytest

from export.candidate_selection import select_candidate
from tests.support import ROOT
from training import config

LIMITS = replace(config.load(config.Verify, ROOT / "params.yaml"), max_accuracy_loss=0.01, min_photos=1000)
SLOWER = "int8 takes 1.25 times as long as fp32"
WORSE = "int8 loses 2.00 points of accuracy on test; verify.max_accuracy_loss allows 1.00"


def make_figures(accuracy, latency_ms, abroad=0.9):
    sets = {"test": {"accuracy": accuracy, "photos": 1000}, "abroad": {"accuracy": abroad, "photos": 1000}}
    return {"latency_ms": latency_ms, "sets": sets}


def loses(name, points):
    return f"{name} loses at most {points} points of accuracy on any set"


@pytest.mark.parametrize(
    ("int8", "fp16", "selected", "reason"),
    [
        (make_figures(0.99, 2.0), 0.99, "int8", f"{loses('int8', '0.00')} and takes 0.50 times as long as fp32"),
        (make_figures(0.98, 2.0), 0.99, "int8", f"{loses('int8', '1.00')} and takes 0.50 times as long as fp32"),
        (make_figures(0.99, 4.0), 0.99, "fp16", f"int8 takes 1.00 times as long as fp32; {loses('fp16', '0.00')}"),
        (make_figures(0.99, 5.0), 0.98, "fp16", f"{SLOWER}; {loses('fp16', '1.00')}"),
        (make_figures(0.97, 2.0), 0.99, "fp16", f"{WORSE}; {loses('fp16', '0.00')}"),
        (make_figures(0.97, 2.0), 0.97, "fp32", f"{WORSE}; {WORSE.replace('int8', 'fp16')}"),
        (
            make_figures(0.99, 2.0, abroad=0.8),
            0.99,
            "fp16",
            "int8 loses 10.00 points of accuracy on abroad; verify.max_accuracy_loss allows 1.00; "
            + loses("fp16", "0.00"),
        ),
    ],
)
def test_selection_prefers_the_smallest_accurate_file(int8, fp16, selected, reason):
    """int8 must be faster and as accurate on every set, fp16 as accurate; otherwise fp32 is selected."""
    candidates = {"fp32": make_figures(0.99, 4.0), "fp16": make_figures(fp16, 4.0), "int8": int8}
    assert (selected, reason) == select_candidate(candidates, LIMITS)


def test_selection_defaults_to_fp16_without_large_sets():
    """If all sets are too small to judge, fp16 is selected, whatever the accuracies."""
    candidates = {"fp32": make_figures(0.99, 4.0), "fp16": make_figures(0.9, 4.0), "int8": make_figures(0.99, 2.0)}
    expected = "no set has the 1001 photos needed to trust int8"
    assert ("fp16", expected) == select_candidate(candidates, replace(LIMITS, min_photos=1001))


def test_selection_ignores_small_sets():
    """A small set does not count if there is a large one."""
    candidates = {name: make_figures(0.99, 4.0, abroad=0.9) for name in ("fp32", "fp16")} | {
        "int8": make_figures(0.99, 2.0, abroad=0.1)
    }
    for candidate in candidates.values():
        candidate["sets"]["abroad"]["photos"] = 999
    assert "int8" == select_candidate(candidates, LIMITS)[0]
