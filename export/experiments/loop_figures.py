"""Render the figures of `make loop-trial` for training/README.md."""

import json
import textwrap
from pathlib import Path
from typing import Any

from training import ROOT

WIDTH = 140  # of the lines of a document
FIGURES = ROOT / "artifacts/feedback_loop.json"


def render(path: Path = FIGURES) -> str:
    """Return the figures as a Markdown list, or a sentence that there are none."""
    if not path.exists():
        return "Not measured on real photos yet."
    trial: dict[str, Any] = json.loads(path.read_text())
    corrections, paired = trial["corrections"], trial["paired"]
    params = (
        ", ".join(f"`{name}={value}`" for name, value in trial["params"].items()) or "the parameters of `params.yaml`"
    )
    mistakes = f"the first model misclassified {trial['mistakes']:,} of {trial['shown']:,} photos of the left-out kind"
    correct = (
        f"The first model is right on {corrections['champion']:,}, the second one on {corrections['challenger']:,}"
    )
    accuracy = f"{100 * trial['before']:.2f} % before, {100 * trial['after']:.2f} % after"
    reason = trial["reason"].split(";")[0]
    lines = (
        f"Measured on {trial['date']} with {trial['base_photos']:,} photos, without `{trial['kind']}`, and {params}:",
        "",
        f"- In service, {mistakes}.",
        f"- The audit proposed to hold {trial['held']:,} of them; the reviewer accepted {trial['accepted']:,}.",
        f"- {corrections['photos']:,} corrections were reserved for the comparison. {correct}.",
        f"- Accuracy on {paired['photos']:,} test photos: {accuracy}.",
        "- The second model was " + ("promoted." if trial["promoted"] else f"not promoted. The reason: {reason}."),
    )
    return "\n".join(textwrap.fill(line, WIDTH, subsequent_indent="  " * line.startswith("-")) for line in lines)
