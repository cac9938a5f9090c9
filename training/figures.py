"""Replace files in one step, and read and write the figures that documents, the model card and the summary show."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

METRICS = Path("artifacts/metrics")
PLOTS = Path("artifacts/plots")
Figures = dict[str, Any]  # by name; may be nested


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield the path of a temporary file, and rename it to `path` at the end.

    After an error or an interruption, `path` is unchanged, and NAME.partial may stay.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.partial")
    yield partial
    partial.replace(path)


def write_json(path: Path, value: Any, indent: int | None = 2) -> None:
    with replacing(path) as partial:
        partial.write_text(json.dumps(value, indent=indent) + "\n")


def write_figures(name: str, figures: Any) -> None:
    """Write artifacts/metrics/NAME.json."""
    write_json(METRICS / f"{name}.json", figures)


def read_figures(name: str) -> Any:
    """Return what artifacts/metrics/NAME.json holds."""
    return json.loads((METRICS / f"{name}.json").read_text())
