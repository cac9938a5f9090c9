"""Measure the overhead of telemetry per request.

The real function runs in a process on one core and answers the same photo with and without telemetry, interleaved. Its
output is a pipe, as on Lambda. The overhead is the difference of the medians; the parts of telemetry are also timed
inside the requests. The command writes artifacts/telemetry.json and prints the table. It takes half a minute on an idle
machine.
"""

import json
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

from infra import ROOT
from infra.bench.hardware import cite, identify, run_pinned
from infra.bench.measure import payload, quantiles
from infra.bench.photos import FIRST, first_photo
from infra.markdown import table

FIGURES = ROOT / "artifacts/telemetry.json"
PROGRAM = ROOT / "infra/bench/programs/overhead.py"
TURNS = 40
LIMIT = 0.02  # of the time of a request
LABELS = {
    "signals": "signals: seven numbers per photo and prediction",
    "record": "log line, metrics, counters",
    "telemetry": "**both**",
    "with": "a request with telemetry",
    "without": "a request without telemetry",
}


def measure(turns: int) -> dict[str, Any]:
    """Return median and p95 in microseconds. Raise `CalledProcessError` if the function does not answer with 200."""
    source = identify()
    times = run_pinned(PROGRAM, str(turns), stdin=payload(first_photo().request))
    times["telemetry"] = [sum(parts) for parts in zip(times["signals"], times["record"], strict=True)]
    return {
        **source,
        "photo": FIRST,
        "requests": len(times["with"]),
        "us": {name: quantiles(times[name], 50, 95) for name in LABELS},
    }


def render(figures: Mapping[str, Any]) -> str:
    """Return the table, and whether the overhead is within the limit."""
    us = figures["us"]
    rows = [(label, f"{us[name]['p50']:,.0f}", f"{us[name]['p95']:,.0f}") for name, label in LABELS.items()]
    overhead = us["with"]["p50"] - us["without"]["p50"]
    share = overhead / us["with"]["p50"]
    verdict = "met" if share <= LIMIT else "**missed**"
    return (
        f"{table(('microseconds', 'p50', 'p95'), rows)}\n\n"
        f"Overhead per request: {overhead:,.0f} microseconds, {100 * share:.1f} %, limit {100 * LIMIT:.0f} %: "
        f"{verdict}. Medians of {figures['requests']:,} requests each way with {figures['photo']}, {cite(figures)}"
    )


if __name__ == "__main__":
    try:
        FIGURES.write_text(json.dumps(measure(TURNS), indent=2) + "\n")
    except subprocess.CalledProcessError as error:
        sys.exit(f"telemetry: {PROGRAM.name} exited with {error.returncode}; its output is above")
    print(render(json.loads(FIGURES.read_text())))
