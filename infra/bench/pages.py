"""Rewrites the tables of infra/bench/RESULTS.md and README from the figures on file; nothing is measured."""

import json

from infra import results
from infra.bench import fleet, growth, levers, tables, telemetry
from infra.local.runtime import ROOT
from infra.markdown import filled

RESULTS = ROOT / "infra/bench/RESULTS.md"


def rendered(page: str) -> str:
    figures = tables.read_bench()
    return filled(
        page,
        {
            "goals": tables.goals(figures),
            "bench": tables.full(figures),
            "cost": tables.costs(figures),
            "levers": levers.render(json.loads(levers.FIGURES.read_text())),
            "growth": growth.table(json.loads(growth.GROWTH.read_text())),
            "telemetry": telemetry.render(json.loads(telemetry.FIGURES.read_text())),
            "fleet": fleet.render(json.loads(fleet.RESULT.read_text())),
        },
    )


if __name__ == "__main__":
    RESULTS.write_text(rendered(RESULTS.read_text()))
    results.render()
    print(tables.goals(tables.read_bench()))
