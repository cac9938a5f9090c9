"""Render the figures of `make loop-trial` for training/README.md."""

import json
import textwrap
from pathlib import Path
from typing import Any

WIDTH = 140  # of the documents
FIGURES = Path(__file__).parents[1] / "artifacts/feedback_loop.json"


def render(path: Path = FIGURES) -> str:
    """Return the figures as a Markdown list, or a sentence if there are none."""
    if not path.exists():
        return "Not measured on real photos yet."
    found: dict[str, Any] = json.loads(path.read_text())
    corrections, paired = found["corrections"], found["paired"]
    params = (
        ", ".join(f"`{name}={value}`" for name, value in found["params"].items()) or "the parameters of `params.yaml`"
    )
    wrong = f"the first model got {found['mistakes']:,} of {found['shown']:,} photos of the left-out kind wrong"
    right = f"The first model is right on {corrections['champion']:,}, the second one on {corrections['challenger']:,}"
    reason = found["reason"].split(";")[0]
    lines = (
        f"Measured on {found['date']} with {found['base_photos']:,} photos, without `{found['kind']}`, and {params}:",
        "",
        f"- In service, {wrong}.",
        f"- The audit held {found['held']:,} of them for the reviewer; {found['accepted']:,} were accepted.",
        f"- {corrections['photos']:,} corrections were held back. {right}.",
        f"- Accuracy on {paired['photos']:,} test photos: {found['before']:.2%} before, {found['after']:.2%} after.",
        f"- The second model {'was promoted' if found['promoted'] else f'was not promoted: {reason}'}.",
    )
    return "\n".join(textwrap.fill(line, WIDTH, subsequent_indent="  " * line.startswith("-")) for line in lines)
