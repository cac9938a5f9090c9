"""Write review.html: every photo to decide on, with its label, prediction and doubt; suspicious photos come first."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from training.harvest.contributed_photo import Candidate
from training.harvest.decisions import COLUMNS, DECISIONS, DECISIONS_FILE, HOLD, REJECT

PAGE = "review.html"


def write_page(candidates: Sequence[Candidate], class_names: Sequence[str], folder: Path) -> Path:
    """Write FOLDER/review.html, which refers only to the photos in the folder, and return its path."""
    templates = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    shown = [candidate for candidate in candidates if candidate.decision != REJECT]
    shown.sort(key=lambda candidate: (candidate.decision != HOLD, -(candidate.doubt or 0)))
    path = folder / PAGE
    path.write_text(
        templates.get_template("review_template.html").render(
            shown=shown,
            hidden=[asdict(candidate) for candidate in candidates if candidate.decision == REJECT],
            rows=[asdict(candidate) for candidate in shown],
            columns=COLUMNS,
            decisions=DECISIONS,
            class_names=class_names,
            file=DECISIONS_FILE,
        ),
        encoding="utf-8",
    )
    return path
