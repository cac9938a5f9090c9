"""Read and write the figures in artifacts/metrics, which documents, the model card and the summary show."""

import json
from pathlib import Path
from typing import Any

METRICS = Path("artifacts/metrics")


def write_figures(name: str, figures: Any) -> None:
    """Write artifacts/metrics/NAME.json atomically, so that an interruption leaves the old or the new figures."""
    METRICS.mkdir(parents=True, exist_ok=True)
    path = METRICS / f"{name}.json"
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(figures, indent=2) + "\n")
    partial.replace(path)


def read_figures(name: str) -> Any:
    """Return what artifacts/metrics/NAME.json holds."""
    return json.loads((METRICS / f"{name}.json").read_text())
