"""Test the tables and percentages of the documents."""

from training.markdown_table import percent, table


def test_table_aligns_numbers_to_the_right():
    """Columns of numbers are right-aligned and columns of words left-aligned; rows may be an iterator."""
    rows = [("1 cat", "12.5 MB", "a few"), ("2 dogs", "3 MB", "7")]
    assert "| pet | size | how many |\n| --- | ---: | --- |\n" in table(("pet", "size", "how many"), rows)
    assert table(("a", "b", "c"), iter(rows)) == table(("a", "b", "c"), rows)


def test_percent_has_two_digits():
    """A share has two digits, and a missing one is a dash."""
    assert ("98.77 %", "–") == (percent(0.98765), percent(None))  # noqa: RUF001  # a dash, not a minus
