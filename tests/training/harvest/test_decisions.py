"""Test decisions.csv, the file in which a reviewer decides."""

import csv
from pathlib import Path

import pytest

from tests.training.harvest.contributions import OUT, SOURCE, accepted, contribute, review
from training.harvest.__main__ import harvest
from training.harvest.accept import accept
from training.harvest.contributed_photo import HarvestError
from training.harvest.decisions import COLUMNS
from training.harvest.ledger import read_ledger


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("decision", "maybe", r"line 2: decision is 'maybe'; expected accept, hold, reject"),
        ("label", "rabbit", r"has the label 'rabbit'; expected cat, dog"),
        ("label", "../../cat", r"has the label '\.\./\.\./cat'; expected cat, dog"),
        ("path", "../secret.jpg", r"has the path '\.\./secret\.jpg'; expected the path that"),
        ("doubt", "much", r"line 2: .*'much'; expected numbers"),
    ],
)
def test_invalid_decisions_are_named(checkout, column, value, message):
    """An invalid cell is an error that names the file, the photo or line, and the value; nothing is written."""
    contribute([500])
    review()
    with (OUT / "decisions.csv").open(newline="") as file:
        [row] = csv.DictReader(file)
    with (OUT / "decisions.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, row)
        writer.writeheader()
        writer.writerow(row | {column: value})
    with pytest.raises(HarvestError, match=message):
        accept(OUT)
    assert (set(), set()) == (read_ledger(), accepted())


def test_photo_with_two_decisions_is_refused(checkout):
    """A photo that decisions.csv lists twice is an error that names both lines; nothing is accepted."""
    contribute([500])
    review()
    with (OUT / "decisions.csv").open("r+", newline="") as file:
        _, line = file.read().splitlines()
        assert '"accept"' in line
        file.write(line.replace('"accept"', '"reject"') + "\n")
    with pytest.raises(HarvestError, match=r"line 3: review/decisions.csv, line 2 has the same photo; delete one of"):
        accept(OUT)
    assert (set(), set()) == (read_ledger(), accepted())


def test_missing_header_is_named(checkout):
    """Without its header, the file is an error with the expected one; deleting the file starts the review over."""
    contribute([500])
    review("reject")
    path = OUT / "decisions.csv"
    path.write_text("a;b\n")
    message = (
        f"review/decisions.csv begins with 'a;b'; expected {','.join(COLUMNS)}; restore this line, or delete the file"
    )
    for command in (lambda: accept(OUT), lambda: harvest(SOURCE, OUT)):
        with pytest.raises(HarvestError, match=message):
            command()
    path.unlink()
    [candidate] = harvest(SOURCE, OUT)
    assert "reject" != candidate.decision


def test_missing_review_is_named(checkout):
    """Without decisions.csv, the error names the command that writes it."""
    with pytest.raises(HarvestError, match=r"expected the OUT folder of `make harvest`"):
        accept(Path("nowhere"))
