"""training/RESULTS.md: its tables stand between markers, each rewritten by one command from figures on file."""

import os
import platform
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

RESULTS = Path("training/RESULTS.md")


def insert(name: str, text: str, path: Path = RESULTS) -> None:
    """Put `text` between `<!-- NAME -->` and `<!-- /NAME -->`. Raises SystemExit where the markers are missing."""
    page = path.read_text()
    block = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
    if not block.search(page):
        raise SystemExit(f"{path} has no <!-- {name} --> before a <!-- /{name} -->; expected both")
    path.write_text(block.sub(lambda match: match[1] + text + match[2], page))
    print(text)


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Markdown; the first column is words, others whose every cell begins with a digit are figures, to the right."""
    cells = list(rows)
    figures = [i > 0 and all(row[i][:1].isdigit() for row in cells) for i in range(len(headings))]
    rule = ["---:" if right else "---" for right in figures]
    return "\n".join(f"| {' | '.join(row)} |" for row in (headings, rule, *cells))


def percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.2f} %"  # noqa: RUF001  # a dash, where there is no figure


def hardware() -> str:
    """Processor and cores, since times are facts about a machine."""
    cpuinfo = Path("/proc/cpuinfo")
    found = re.search(r"model name\s*: (.*)", cpuinfo.read_text()) if cpuinfo.exists() else None
    return f"{found[1] if found else platform.machine()}, {os.cpu_count()} cores"
