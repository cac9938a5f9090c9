"""Simulate splits with a report every day. Count the first decisions, and the labels until then.

Takes a minute and writes artifacts/split_simulation.json. `make docs` inserts its table into infra/report/README.md.

    python -m infra.report.split_simulation
"""

import argparse
import json
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from infra import ROOT
from infra.markdown import table
from infra.report.alarms import MARGIN
from infra.report.difference import Counts, decide
from infra.report.split_comparison import ACCURACY_ALPHA

RESULT = ROOT / "artifacts/split_simulation.json"
RUNS = 2000
DAYS, LABELS_PER_DAY = 365, 200  # labels of both versions together


@dataclass(frozen=True)
class Scenario:
    """The true accuracies of both versions, and the challenger's share of the labels."""

    champion: float
    challenger: float
    share: float


SCENARIOS = [
    Scenario(champion, champion + change, share)
    for champion in (0.998, 0.99, 0.95)
    for change in (-0.02, 0.0)
    for share in (0.1, 0.4)
]


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m infra.report.split_simulation", description=__doc__)
    parser.parse_args(arguments)
    results = [asdict(scenario) | simulate(scenario, RUNS, seed) for seed, scenario in enumerate(SCENARIOS)]
    figures = {"runs": RUNS, "days": DAYS, "labels_per_day": LABELS_PER_DAY, "scenarios": results}
    RESULT.write_text(json.dumps(figures, indent=2) + "\n")
    print(render_table())


def simulate(scenario: Scenario, runs: int, seed: int) -> dict[str, Any]:
    """Return the shares of runs whose first decision is to roll back or to promote, and the labels until then."""
    is_worse, is_noninferior = decide(_draw(scenario, runs, seed), MARGIN, ACCURACY_ALPHA)
    is_decided = is_worse | is_noninferior
    first = is_decided.argmax(axis=1)
    row = np.arange(runs)
    labels = np.where(is_decided.any(axis=1), (first + 1) * LABELS_PER_DAY, np.inf)
    rolled_back = is_worse[row, first]
    return {
        "rolled_back": float(rolled_back.mean()),
        "promoted": float((is_noninferior[row, first] & ~rolled_back).mean()),
        "labels_median": _quantile(labels, 0.5),
        "labels_p95": _quantile(labels, 0.95),
    }


def _draw(scenario: Scenario, runs: int, seed: int) -> Counts:
    """Return the cumulative counts of labels and of correct predictions of both versions: arrays (runs, days)."""
    rng = np.random.default_rng(seed)
    challenger = rng.binomial(LABELS_PER_DAY, scenario.share, (runs, DAYS))
    champion = LABELS_PER_DAY - challenger
    daily = (
        rng.binomial(champion, scenario.champion),
        champion,
        rng.binomial(challenger, scenario.challenger),
        challenger,
    )
    return Counts(*(np.cumsum(values, axis=1) for values in daily))


def _quantile(labels: NDArray[np.float64], share: float) -> int | None:
    """Return the number of labels that decide this share of the runs, or None if fewer are decided within `DAYS`."""
    value = np.quantile(labels, share, method="higher")
    return int(value) if np.isfinite(value) else None


def render_table() -> str:
    """Return the table of the results for the documentation."""
    figures = json.loads(RESULT.read_text())
    beyond = f"over {figures['days'] * figures['labels_per_day']:,}"
    header = (
        "champion",
        "challenger",
        "challenger's share",
        "rolled back",
        "promoted",
        "labels, median",
        "labels, 95 % of runs",
    )
    rows = [
        (
            *(f"{100 * each[name]:.1f} %" for name in ("champion", "challenger")),
            f"{100 * each['share']:.0f} %",
            *(f"{100 * each[name]:.1f} %" for name in ("rolled_back", "promoted")),
            *(f"{each[name]:,}" if each[name] else beyond for name in ("labels_median", "labels_p95")),
        )
        for each in figures["scenarios"]
    ]
    return table(header, rows)


if __name__ == "__main__":
    main()
