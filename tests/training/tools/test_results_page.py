"""The tables of training/RESULTS.md."""

from training.tools.results_page import percent, table


def test_table():
    """Columns of figures stand to the right, those of words to the left; without rows, all are words."""
    rows = [("1 cat", "12.5 MB", "a few"), ("2 dogs", "3 MB", "7")]
    assert "| pet | size | how many |\n| --- | ---: | --- |\n" in table(("pet", "size", "how many"), rows)
    assert table(("a", "b", "c"), iter(rows)) == table(("a", "b", "c"), rows)


def test_percent():
    """A share with two digits; a dash where there is none."""
    assert ("98.77 %", "–") == (percent(0.98765), percent(None))  # noqa: RUF001  # a dash, not a minus
