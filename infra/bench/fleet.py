"""How Lambda would serve the measured function at 1, 100 and 10,000 requests/s: environments, cold starts, p99, cost.

Feeds the times of artifacts/bench.json into a simulation of Lambda's published scaling rules; writes
artifacts/fleet.json and a picture, and prints a table, after comparing the simulation of one environment with Lambda's
emulator. Takes about a minute on one core.
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
RESTORE_MS = 400  # of Java mostly, people published REPORT lines with 326 to 565 ms; nothing here can measure it


def run(bench: Path, *, seed: int, idle_s: float, restore_ms: float) -> str:
    """The table; raises BenchError."""
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
    """The table, from artifacts/fleet.json."""
    answered, even = [Answer(**one) for one in result["answers"]], BreakEven(**result["break_even"])
    agreed = f"One environment, simulated and under Lambda's emulator: p50 of {result['agreement']:.2f} to 1."
    return f"{markdown(answered, even, result['assumptions'])}\n\n{agreed}"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m infra.bench.fleet", description=__doc__)
    parser.add_argument("--bench", type=Path, default=BENCH)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--idle-s", type=float, default=Rules().idle_s, help="an idle environment ends after so long")
    parser.add_argument("--restore-ms", type=float, default=RESTORE_MS, help="what a SnapStart restore takes")
    options = parser.parse_args(arguments)
    try:
        print(run(options.bench, seed=options.seed, idle_s=options.idle_s, restore_ms=options.restore_ms))
    except (BenchError, RuntimeNotFound, RuntimeDied, httpx2.HTTPError) as error:
        print(f"fleet: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
