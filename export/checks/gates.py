"""Define gates: limits on measured values, each with a hint at what to look at if it fails."""

import math
from dataclasses import dataclass
from typing import Any

COLUMNS = ("gate", "expected", "measured", "verdict")


@dataclass(frozen=True)
class Gate:
    """Compare `measured` with `limit`, an upper bound unless `at_least` is set. NaN fails every gate."""

    name: str
    measured: float
    limit: float
    hint: str  # the parameter that sets the limit, or what is wrong if the gate fails
    at_least: bool = False

    @property
    def passed(self) -> bool:
        return self.measured >= self.limit if self.at_least else self.measured <= self.limit

    @property
    def row(self) -> tuple[str, str, str, str]:
        """Return the cells of the table, in the order of `COLUMNS`."""
        expected = f"{'>=' if self.at_least else '<='} {self.limit:.4g}"
        return self.name, expected, f"{self.measured:.4g}", "ok" if self.passed else "BROKEN"

    @property
    def figures(self) -> dict[str, Any]:
        """Return the cells for JSON, with None instead of NaN and infinity, which JSON lacks."""
        measured = self.measured if math.isfinite(self.measured) else None
        return dict(zip(COLUMNS[1:], self.row[1:], strict=True)) | {"measured": measured}


def make_set_gates(name: str, key: str, limits: dict[str, float], measured: dict[str, float]) -> list[Gate]:
    """Return a gate for each limit whose set was judged, and print which limits are skipped.

    A `key` that starts with `min_` makes the limits lower bounds.
    """
    gates = []
    for set_name, limit in limits.items():
        if set_name in measured:
            hint = f"verify.{key}.{set_name} in params.yaml"
            gates.append(Gate(f"{name}_{set_name}", measured[set_name], limit, hint, key.startswith("min_")))
        else:
            print(
                f"{name}_{set_name}: skipped, because verify.{key} has a limit for a set that is absent or not judged"
            )
    return gates


def format_table(gates: list[Gate]) -> str:
    """Return one aligned line of plain text per gate, below a header."""
    rows = [COLUMNS, *(gate.row for gate in gates)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)


def describe_failures(gates: list[Gate]) -> str:
    """Return one line per failed gate with its hint, or the empty string if all passed."""
    lines = [f"  {gate.name}: {gate.hint}" for gate in gates if not gate.passed]
    return "\n".join([f"{len(lines)} of {len(gates)} gates failed; check:", *lines]) if lines else ""
