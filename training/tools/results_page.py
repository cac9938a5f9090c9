"""Render the generated parts of training/RESULTS.md, from the figures in artifacts/metrics.

`make docs` inserts them with cog.
"""

import os
import platform
import re
from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import Any

from training import config
from training.markdown_table import percent, table

COMPARED_PRECISIONS = ("fp32", "int8")
FOR_SMALL_SETS = {"train.min_steps", "train.perfect_epochs"}  # without effect on the attempts, which had many photos
NEUTRAL = {"train.balance_classes": "False"}  # values with which a later param acts as if it did not exist


def render_baselines(results: list[dict[str, Any]]) -> str:
    """Return the table of networks, and how they were measured."""
    headings = ["network", *(f"accuracy, {name}" for name in results[0]["accuracy"])]
    headings += [f"called unknown, {name}" for name in results[0]["unknown_rate"]]
    headings += ["parameters", *(f"{p} MB" for p in COMPARED_PRECISIONS), *(f"{p} ms" for p in COMPARED_PRECISIONS)]
    headings += ["training, minutes", "images/s"]
    return table(headings, map(_baseline_row, results)) + "\n\n" + _caption(results[0])


def _baseline_row(result: Mapping[str, Any]) -> list[str]:
    start = "pretrained" if result["identity"]["train"]["weights"] else "from scratch"
    shares = [*result["accuracy"].values(), *result["unknown_rate"].values()]
    return [
        f"`{result['network']}`, {start}",
        *map(percent, shares),
        f"{result['parameters'] / 1e6:.2f} M",
        *(f"{result['mb'][precision]:.2f}" for precision in COMPARED_PRECISIONS),
        *(f"{result['latency_ms'][precision]:.2f}" for precision in COMPARED_PRECISIONS),
        f"{result['minutes']:.1f}",
        f"{result['images_per_second']:.0f}",
    ]


def _caption(result: Mapping[str, Any]) -> str:
    train, test = result["identity"]["train"], result["identity"]["evaluate"]
    return (
        f"Each: {train['epochs']} epochs at {train['image_size']} px with the same augmentation, scored in fp32 at "
        f"{test['image_size']} px. Milliseconds: ONNX Runtime, one photo on one thread, median. Minutes: training "
        f"without validation. Measured on {result['hardware']}."
    )


def render_attempts(attempts: list[dict[str, Any]]) -> str:
    """Return the table of attempts, with their differences from params.yaml."""
    params = config.flatten(config.load(config.Train), config.load(config.Augment))
    current = {key: str(value) for key, value in params.items()}  # as MLflow writes them
    sets = list(dict.fromkeys(name for row in attempts for name in row["accuracy"]))
    outliers = list(dict.fromkeys(name for row in attempts for name in row["unknown_rate"]))
    headings = ["attempt", "differs from params.yaml in", *(f"accuracy, {name}" for name in sets)]
    headings += [*(f"called unknown, {name}" for name in outliers), "calibration error, test", "minutes"]
    rows = [
        [
            row["attempt"],
            describe_differences(row["params"], current),
            *(percent(row["accuracy"].get(name)) for name in sets),
            *(percent(row["unknown_rate"].get(name)) for name in outliers),
            percent(row["calibration_error"]),
            f"{row['minutes']:.0f}",
        ]
        for row in attempts
    ]
    return table(headings, rows)


def describe_differences(params: dict[str, str], current: dict[str, str]) -> str:
    """Return `lr 0.001` for each param with another value, and `no dropout` for each that did not exist yet.

    A param is not listed if its value of today would not have changed the training.
    """
    effective = [key for key in current if key not in FOR_SMALL_SETS]
    different = [
        f"`{key.split('.')[1]} {params[key]}`" for key in effective if params.get(key, current[key]) != current[key]
    ]
    absent = [key for key in effective if key not in params and NEUTRAL.get(key) != current[key]]
    missing = [f"no `{key.split('.')[1]}`" for key in absent]
    return ", ".join(different + missing) or "nothing"


def render_input(results: dict[str, Any]) -> str:
    """Return a sentence on the speed of training from photos, relative to that from memory."""
    speeds = results["images_per_second"]
    photos, memory = (f"{median(speeds[n]):.1f} ({min(speeds[n]):.1f} to {max(speeds[n]):.1f})" for n in speeds)
    return (
        f"Training `{results['architecture']}` at {results['image_size']} px reaches {photos} images/s from photos, "
        f"read by {results['workers']} workers, and {memory} from a batch in memory: reading photos reaches "
        f"**{100 * results['share']:.0f} %** of that speed. Medians (and range) of {len(speeds['photos'])} rounds of "
        f"{results['steps']} steps on {results['hardware']}."
    )


def describe_hardware() -> str:
    """Return the processor and the number of cores, on which all times depend.

    `infra.bench.hardware` describes the machine of the benchmark, because neither package may import the other.
    """
    cpuinfo = Path("/proc/cpuinfo")
    found = re.search(r"model name\s*: (.*)", cpuinfo.read_text()) if cpuinfo.exists() else None
    return f"{found[1] if found else platform.machine()}, {os.cpu_count()} cores"
