"""Simulate how Lambda serves the function at 1, 100 and 10,000 requests/s: environments, cold starts, p99 and cost.

The simulation applies Lambda's published scaling rules to the times of artifacts/bench.json. The command compares the
simulation of one environment with Lambda's emulator, writes artifacts/fleet.json and a plot, and prints a table. It
takes about a minute on one core.
"""

import argparse
import json
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import httpx2

from infra.bench.fleet_check import agreement, rounds
from infra.bench.fleet_model import Rules
from infra.bench.fleet_report import BreakEven, assumptions, break_even, markdown, plot
from infra.bench.fleet_scenarios import Answer, answers, quiet
from infra.bench.fleet_times import BenchError, read
from infra.bench.tables import BENCH
from infra.emulator.runtime import ROOT, RuntimeDied, RuntimeNotFound

RESULT = ROOT / "artifacts/fleet.json"
PLOT = ROOT / "artifacts/plots/fleet.png"
RESTORE_MS = (
    400  # assumed: published REPORT lines, most of them of Java, have 326 to 565 ms; not measurable outside AWS
)


def run(bench: Path, *, seed: int, idle_s: float, restore_ms: float) -> str:
    """Simulate, write the result and the plot, and return the table. Raise `BenchError` for a bad file."""
    times = read(bench)
    found = answers(times, idle_s=idle_s, restore_ms=restore_ms, seed=seed)
    shares = quiet(times, idle_s=idle_s, seed=seed)
    even, assumed = break_even(times, idle_s, restore_ms), assumptions(times, idle_s, restore_ms)
    bench_figures = json.loads(bench.read_text())
    result = {
        "hardware": bench_figures["hardware"],
        "commit": bench_figures["commit"],
        "agreement": round(agreement(rounds()), 3),
        "assumptions": assumed,
        "times_ms": asdict(times),
        "seed": seed,
        "answers": [asdict(answer) for answer in found],
        "break_even": asdict(even),
        "cold_share_by_rate": shares,
    }
    RESULT.write_text(json.dumps(result, indent=2) + "\n")
    plot(found, shares, idle_s, PLOT)
    return render(result)


def render(result: Mapping[str, Any]) -> str:
    """Return the Markdown of infra/bench/RESULTS.md for the content of artifacts/fleet.json."""
    rows, even = [Answer(**row) for row in result["answers"]], BreakEven(**result["break_even"])
    validation = f"One environment, simulated and under Lambda's emulator: p50 of {result['agreement']:.2f} to 1."
    return f"{markdown(rows, even, result['assumptions'])}\n\n{validation}"


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return 1 after an error."""
    parser = argparse.ArgumentParser(prog="python -m infra.bench.fleet", description=__doc__)
    parser.add_argument("--bench", type=Path, default=BENCH)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--idle-s", type=float, default=Rules().idle_s, help="time after which an idle environment ends"
    )
    parser.add_argument("--restore-ms", type=float, default=RESTORE_MS, help="duration of a SnapStart restore")
    options = parser.parse_args(arguments)
    try:
        print(run(options.bench, seed=options.seed, idle_s=options.idle_s, restore_ms=options.restore_ms))
    except (BenchError, RuntimeNotFound, RuntimeDied, httpx2.HTTPError) as error:
        print(f"fleet: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
