"""Draw pages of suspects: each photo with its number in the list, its label and the suggested label."""

from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes

from training.photo_dataset import Photos
from training.tools.suspect_list import SUSPECTS, Suspect

SHEET = Path("artifacts/suspects.png")  # shows photos, so Git ignores it; further pages are suspects-2.png and so on
COLUMNS, ROWS = 8, 6
PER_PAGE = COLUMNS * ROWS
MAX_PAGES = 5  # the list has all suspects
NAME_LENGTH = 30  # characters below a photo


def draw_pages(suspects: Sequence[Suspect], photos: Photos) -> list[Path]:
    """Draw at most MAX_PAGES pages of PER_PAGE photos, remove the pages of earlier lists, and return the new ones."""
    remove_pages()
    index = {name: number for number, name in enumerate(photos.ids)}
    pages: list[Path] = []
    for start in range(0, min(len(suspects), PER_PAGE * MAX_PAGES), PER_PAGE):
        page = SHEET.with_stem(f"{SHEET.stem}-{len(pages) + 1}") if pages else SHEET
        draw_page(suspects[start : start + PER_PAGE], photos, index, page)
        pages.append(page)
    return pages


def remove_pages() -> None:
    for page in SHEET.parent.glob(f"{SHEET.stem}*{SHEET.suffix}"):
        page.unlink()


def draw_page(suspects: Sequence[Suspect], photos: Photos, index: dict[str, int], path: Path) -> None:
    rows = -(-len(suspects) // COLUMNS)
    figure, axes = plt.subplots(rows, COLUMNS, figsize=(2.4 * COLUMNS, 2.95 * rows + 0.5), squeeze=False)
    for axis in axes.flat:
        axis.axis("off")
    for axis, suspect in zip(axes.flat, suspects, strict=False):
        pixels, _ = photos[index[suspect.id]]
        axis.imshow(np.asarray(pixels).transpose(1, 2, 0))
        write_caption(axis, suspect)
    heading = f"number in {SUSPECTS.name}: label → suggestion, with the probability of each"
    figure.text(0.01, 1 - 0.15 / figure.get_figheight(), heading, va="top", fontsize=12)
    figure.subplots_adjust(0.01, 0.65 / figure.get_figheight(), 0.99, 1 - 0.5 / figure.get_figheight(), 0.06, 0.32)
    figure.savefig(path, dpi=100)
    plt.close(figure)


def write_caption(axis: Axes, suspect: Suspect) -> None:
    """Write label and suggestion, their probabilities and the file name below a photo."""
    change = f"{suspect.number}: {suspect.label} → {suspect.suggestion}"
    values = f"{suspect.label_probability:.3f} → {suspect.suggestion_probability:.3f}"
    lines = [(shorten_caption(change), 10, "bold"), (values, 9, "normal")]
    lines.append((shorten_caption(PurePosixPath(suspect.id).name, keep_end=True), 8, "normal"))
    for row, (text, size, weight) in enumerate(lines):
        axis.text(
            *(0.5, -0.03 - 0.085 * row),
            text,
            fontsize=size,
            fontweight=weight,
            transform=axis.transAxes,
            ha="center",
            va="top",
            parse_math=False,  # a file name may contain dollar signs
        )


def shorten_caption(text: str, *, keep_end: bool = False) -> str:
    """Return at most NAME_LENGTH characters of a text, with an ellipsis for those that are left out."""
    if len(text) <= NAME_LENGTH:
        return text
    return f"…{text[1 - NAME_LENGTH :]}" if keep_end else f"{text[: NAME_LENGTH - 1]}…"
