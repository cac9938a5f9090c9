"""What the telemetry costs a request. Writes artifacts/telemetry.json and prints the table; takes half an idle minute.

The real function, in process and on one core, answers a photo with the telemetry and without, in turns; its output is a
pipe, as on Lambda. The difference of the medians is what the telemetry costs; its own parts are clocked inside the
requests as well.
"""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

from infra.bench.candidates import PEERS
from infra.bench.hardware import commit, hardware
from infra.bench.measure import FIRST, payload, quantiles
from infra.bench.photos import bench_photos
from infra.emulator.runtime import ROOT
from infra.markdown import table

FIGURES = ROOT / "artifacts/telemetry.json"
PROGRAM = PEERS / "telemetry/overhead.py"
TURNS = 40
LIMIT_US = 500
WORDS = {
    "signals": "signals: seven numbers of photo and answer",
    "record": "log line, metrics, counters",
    "telemetry": "**both**",
    "with": "a request with it",
    "without": "a request without it",
}


def measure(turns: int) -> dict[str, Any]:
    """Raises CalledProcessError where the function does not answer."""
    [photo] = [photo for photo in bench_photos() if photo.name == FIRST]
    core = str(max(os.sched_getaffinity(0)))
    done = subprocess.run(
        ["taskset", "--cpu-list", core, sys.executable, str(PROGRAM), str(turns)],
        input=payload(photo.request),
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        check=True,
    )
    times = json.loads(done.stdout.splitlines()[-1])
    times["telemetry"] = [sum(parts) for parts in zip(times["signals"], times["record"], strict=True)]
    return {
        "hardware": hardware(docker=False),
        "commit": commit(),
        "photo": FIRST,
        "requests": len(times["with"]),
        "us": {name: quantiles(times[name], 50, 95) for name in WORDS},
    }


def render(figures: Mapping[str, Any]) -> str:
    us = figures["us"]
    rows = [(words, f"{us[name]['p50']:,.0f}", f"{us[name]['p95']:,.0f}") for name, words in WORDS.items()]
    cost = us["with"]["p50"] - us["without"]["p50"]
    verdict = "met" if cost <= LIMIT_US else "**missed**"
    return (
        f"{table(('microseconds', 'p50', 'p95'), rows)}\n\n"
        f"A request costs {cost:,.0f} more with it, limit {LIMIT_US}: {verdict}. "
        f"Medians of {figures['requests']:,} requests each way with "
        f"{figures['photo']}, on {figures['hardware']}; commit `{figures['commit']}`."
    )


if __name__ == "__main__":
    try:
        FIGURES.write_text(json.dumps(measure(TURNS), indent=2) + "\n")
    except subprocess.CalledProcessError as error:
        sys.exit(f"telemetry: {PROGRAM.name} ended with exit code {error.returncode}; its output is above")
    print(render(json.loads(FIGURES.read_text())))
