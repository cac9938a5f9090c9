"""Write Markdown tables and percentages for the documents, including the model card."""

from collections.abc import Iterable, Sequence


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table. Columns whose cells all begin with a digit are right-aligned, except for the first.

    `infra.markdown` renders the tables of `infra`, because neither package may import the other.
    """
    cells = list(rows)
    is_numeric = [i > 0 and all(row[i][:1].isdigit() for row in cells) for i in range(len(headings))]
    rule = ["---:" if numeric else "---" for numeric in is_numeric]
    return "\n".join(f"| {' | '.join(row)} |" for row in (headings, rule, *cells))


def percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.2f} %"  # noqa: RUF001  # an en dash marks a missing value
