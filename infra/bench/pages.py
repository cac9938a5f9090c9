"""Rewrites the tables of infra/bench/RESULTS.md, README and infra/README.md from figures on file; measures nothing."""

import json

from infra import results
from infra.bench import batch, decoding, fleet, fuzz, growth, levers, predict_batch, tables, telemetry
from infra.emulator.runtime import ROOT
from infra.markdown import filled

RESULTS = ROOT / "infra/bench/RESULTS.md"
RUNBOOK = ROOT / "infra/README.md"


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
            "predict_batch": predict_batch.render(json.loads(predict_batch.FIGURES.read_text())),
            "batch": batch.render(json.loads(batch.FIGURES.read_text())),
            "telemetry": telemetry.render(json.loads(telemetry.FIGURES.read_text())),
            "decoding": decoding.render(json.loads(decoding.FIGURES.read_text())),
            "colors": decoding.render_colors(json.loads(decoding.COLORS.read_text())),
            "fuzz": fuzz.render(json.loads(fuzz.FIGURES.read_text())),
            "fleet": fleet.render(json.loads(fleet.RESULT.read_text())),
        },
    )


def rendered_runbook(page: str) -> str:
    return filled(page, {"millions": batch.costs(json.loads(batch.FIGURES.read_text()))})


if __name__ == "__main__":
    RESULTS.write_text(rendered(RESULTS.read_text()))
    RUNBOOK.write_text(rendered_runbook(RUNBOOK.read_text()))
    results.render()
    print(tables.goals(tables.read_bench()))
