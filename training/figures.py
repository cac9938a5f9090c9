"""Write JSON in one step, and read and write the figures that documents, the model card and the summary show."""

import json
from pathlib import Path
from typing import Any

METRICS = Path("artifacts/metrics")


def write_json(path: Path, value: Any, indent: int | None = 2) -> None:
    """Write a file atomically, so that an interruption leaves the old or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.partial")
    partial.write_text(json.dumps(value, indent=indent) + "\n")
    partial.replace(path)


def write_figures(name: str, figures: Any) -> None:
    """Write artifacts/metrics/NAME.json."""
    write_json(METRICS / f"{name}.json", figures)


def read_figures(name: str) -> Any:
    """Return what artifacts/metrics/NAME.json holds."""
    return json.loads((METRICS / f"{name}.json").read_text())
