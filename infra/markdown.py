"""Markdown tables for the documents and for the summaries of workflows."""

from collections.abc import Iterable, Sequence


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table. The first column holds text; the others hold figures and are right-aligned.

    `training.markdown_table` renders the tables of `training`, because neither package may import the other.
    """
    alignment = ("---", *("---:" for _ in headings[1:]))
    return "\n".join(f"| {' | '.join(row)} |" for row in (headings, alignment, *rows))


def text_table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table whose columns all hold text."""
    return "\n".join(f"| {' | '.join(row)} |" for row in (headings, ("---",) * len(headings), *rows))
