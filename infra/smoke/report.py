"""Rows as a table for people and as JSON for programs."""

import json
from dataclasses import asdict
from typing import Any

from infra.smoke.run import Row

WIDTH = 44  # of the longest name
SHOWN = 160  # characters of a value; a page of HTML says no more in 2,000


def line(row: Row) -> str:
    verdict = "PASS" if row.passed else "FAIL"
    line = f"{verdict}  {row.check:{WIDTH}} {row.seconds * 1000:7.0f} ms"
    return line if row.passed else f"{line}  {difference(row)}"


def difference(row: Row) -> str:
    """Only the fields that differ."""
    names = [name for name in {**row.expected, **row.actual} if not _equal(row, name)]
    return "; ".join(f"{name}: {_compared(row, name)}" for name in names)


def _equal(row: Row, name: str) -> bool:
    return name in row.expected and name in row.actual and bool(row.expected[name] == row.actual[name])


def _compared(row: Row, name: str) -> str:
    came = f"got {_shown(row.actual[name])}" if name in row.actual else "got none"
    return f"expected {_shown(row.expected[name])}, {came}" if name in row.expected else _shown(row.actual[name])


def _shown(value: Any) -> str:
    """On one line, whatever a service puts into it."""
    shown = json.dumps(value, ensure_ascii=False)
    return shown if len(shown) <= SHOWN else f"{shown[:SHOWN]}…"


def summary(rows: list[Row]) -> str:
    passed = sum(row.passed for row in rows)
    return f"{passed} of {len(rows)} checks passed, {sum(row.seconds for row in rows):.1f} s"


def as_json(url: str, rows: list[Row]) -> str:
    passed = all(row.passed for row in rows)
    return json.dumps({"url": url, "passed": passed, "checks": [asdict(row) for row in rows]}, indent=2) + "\n"
