"""Test the pictures of the suspects: readable captions, and a limit on the pages."""

from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import pytest

from training.tools import suspect_sheet
from training.tools.suspect_list import Suspect
from training.tools.suspects import describe


def suspect(number, **values):
    fields = {"kind": "label", "suggestion": "cat", "label_probability": 0.0125, "suggestion_probability": 0.98}
    fields |= {"id": f"dog/{number}.jpg", "label": "dog", "split": "train", "sha256": f"{number:064x}"}
    return Suspect(number, **fields | values)


class Pictures:
    """Black photos of 8 pixels."""

    ids = tuple(f"dog/{number}.jpg" for number in range(9))

    def __getitem__(self, index):
        return np.zeros((3, 8, 8), np.uint8), 0


@pytest.fixture
def pages(tmp_path, monkeypatch):
    """Write pages of two photos into a new folder, at most two of them."""
    limits = {"SHEET": tmp_path / "suspects.png", "COLUMNS": 2, "ROWS": 1, "PER_PAGE": 2, "MAX_PAGES": 2}
    for name, value in limits.items():
        monkeypatch.setattr(suspect_sheet, name, value)
    return SimpleNamespace(
        draw=lambda count: suspect_sheet.draw_pages([suspect(number) for number in range(count)], Pictures()),
        found=lambda: sorted(path.name for path in tmp_path.iterdir()),
    )


def test_many_suspects_are_drawn_in_pages(pages):
    """Five suspects give two pages of two, which is the limit; a shorter list later removes the second page."""
    assert ["suspects.png", "suspects-2.png"] == [path.name for path in pages.draw(5)]
    assert ["suspects-2.png", "suspects.png"] == pages.found()
    pages.draw(1)
    assert ["suspects.png"] == pages.found()
    assert [] == pages.draw(0) == pages.found()


def test_summary_says_how_many_are_only_in_the_list():
    """If the pages are full, the summary has the number of suspects without a picture."""
    page = suspect_sheet.PER_PAGE
    text = describe([suspect(number) for number in range(page + 3)], 16_000, [suspect_sheet.SHEET], 0)
    assert f"{page + 3} of 16,000 photos are suspicious: {page + 3} probably show another class, 0 none" in text
    assert f"artifacts/suspects.png ({page} a page; 3 further suspects are only in artifacts/suspects.csv)" in text


def test_caption_shows_label_and_suggestion():
    """Below a photo are its number, label and suggestion, both probabilities, and the end of a long file name."""
    figure, axis = plt.subplots()
    suspect_sheet.write_caption(axis, suspect(7, id=f"dog/{'x' * 40}$1$.jpg", suggestion="set aside"))
    figure.canvas.draw()  # raises ValueError if dollar signs were math
    name = f"…{'x' * 22}$1$.jpg"
    assert ["7: dog → set aside", "0.013 → 0.980", name] == [text.get_text() for text in axis.texts]
    plt.close(figure)


def test_long_class_names_are_shortened():
    """Class names that are too long for the space below a photo end with an ellipsis."""
    assert f"{'a' * 29}…" == suspect_sheet.shorten_caption("a" * 31)
