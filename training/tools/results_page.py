"""Write the tables of training/RESULTS.md. Each is between two markers and is replaced by one command."""

import os
import platform
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

RESULTS = Path("training/RESULTS.md")


def replace_block(name: str, text: str, path: Path = RESULTS) -> None:
    """Replace the text between `<!-- NAME -->` and `<!-- /NAME -->`. Raise SystemExit if a marker is missing."""
    page = path.read_text()
    block = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
    if not block.search(page):
        raise SystemExit(f"{path} has no <!-- {name} --> before a <!-- /{name} -->; expected both")
    path.write_text(block.sub(lambda match: match[1] + text + match[2], page))
    print(text)


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table. Columns whose cells all begin with a digit are right-aligned, except for the first."""
    cells = list(rows)
    is_numeric = [i > 0 and all(row[i][:1].isdigit() for row in cells) for i in range(len(headings))]
    rule = ["---:" if numeric else "---" for numeric in is_numeric]
    return "\n".join(f"| {' | '.join(row)} |" for row in (headings, rule, *cells))


def percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.2f} %"  # noqa: RUF001  # an en dash marks a missing value


def describe_hardware() -> str:
    """Return the processor and the number of cores, on which all times depend."""
    cpuinfo = Path("/proc/cpuinfo")
    found = re.search(r"model name\s*: (.*)", cpuinfo.read_text()) if cpuinfo.exists() else None
    return f"{found[1] if found else platform.machine()}, {os.cpu_count()} cores"
