"""A gate is a line of the verdict: what was expected, what was measured, and what to look at where they do not meet."""

import math
from dataclasses import dataclass
from typing import Any

COLUMNS = ("gate", "expected", "measured", "verdict")


@dataclass(frozen=True)
class Gate:
    """`measured` must not exceed `limit`, or not fall below it; what is no number breaks any gate."""

    name: str
    measured: float
    limit: float
    set_by: str  # where the limit comes from, or what is wrong
    at_least: bool = False

    @property
    def passed(self) -> bool:
        return self.measured >= self.limit if self.at_least else self.measured <= self.limit

    @property
    def row(self) -> tuple[str, str, str, str]:
        expected = f"{'>=' if self.at_least else '<='} {self.limit:.4g}"
        return self.name, expected, f"{self.measured:.4g}", "ok" if self.passed else "BROKEN"

    @property
    def figures(self) -> dict[str, Any]:
        """For JSON, which has no NaN."""
        measured = self.measured if math.isfinite(self.measured) else None
        return dict(zip(COLUMNS[1:], self.row[1:], strict=True)) | {"measured": measured}


def by_set(name: str, key: str, limits: dict[str, float], measured: dict[str, float]) -> list[Gate]:
    """A gate for each limit whose set is judged; of the others a line says that they are not. Keys say min or max."""
    for absent in (which for which in limits if which not in measured):
        print(f"{name}_{absent}: skipped, verify.{key} has a limit for a set that is not judged, or not here")
    return [
        Gate(f"{name}_{which}", measured[which], limit, f"verify.{key}.{which} in params.yaml", key.startswith("min_"))
        for which, limit in limits.items()
        if which in measured
    ]


def table(gates: list[Gate]) -> str:
    rows = [COLUMNS, *(gate.row for gate in gates)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)


def complaint(gates: list[Gate]) -> str:
    """Of the broken ones, or the empty string."""
    lines = [f"  {gate.name}: {gate.set_by}" for gate in gates if not gate.passed]
    return "\n".join([f"{len(lines)} of {len(gates)} gates are broken; what to look at:", *lines]) if lines else ""
