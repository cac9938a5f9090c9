"""Tables in Markdown, and pages whose tables are written by a command: between `<!-- NAME -->` and `<!-- /NAME -->`."""

import re
from collections.abc import Iterable, Mapping, Sequence

BLOCK = re.compile(r"(<!-- (\w+) -->\n).*?(<!-- /\2 -->)", re.DOTALL)


def filled(page: str, blocks: Mapping[str, str]) -> str:
    """The page with every block made anew. Raises ValueError where page and `blocks` name different ones."""
    found = {match[1] for match in BLOCK.findall(page)}
    if found != set(blocks):
        raise ValueError(f"the page has the blocks {sorted(found)}; expected {sorted(blocks)}")
    return BLOCK.sub(lambda match: f"{match[1]}{blocks[match[2]]}\n{match[3]}", page)


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """The first column is words, the others are figures."""
    rule = ("---", *("---:" for _ in headings[1:]))
    return "\n".join(f"| {' | '.join(row)} |" for row in (headings, rule, *rows))
