"""Test the tables that are rendered from artifacts/bench.json."""

import json
import re

import pytest

from infra.bench import pages, tables
from infra.bench.candidates import CANDIDATES


@pytest.fixture
def figures():
    """Return a copy of the committed figures."""
    return json.loads(tables.BENCH.read_text())


def test_pages_match_the_committed_figures():
    """infra/bench/RESULTS.md and infra/README.md contain the tables of the committed figures."""
    page = pages.RESULTS.read_text()
    assert pages.rendered(page) == page
    runbook = pages.RUNBOOK.read_text()
    assert pages.rendered_runbook(runbook) == runbook


def test_figures_contain_every_candidate(figures):
    """Figures and labels have every candidate, under its name."""
    assert [each.name for each in CANDIDATES] == list(figures["candidates"])
    assert set(tables.WORDS) == set(figures["candidates"])


def test_committed_figures_are_of_a_full_run(figures):
    """The committed figures come from a full run in containers, with ten starts or more, of a clean commit."""
    assert (False, True) == (figures["quick"], "containers" in figures["hardware"])
    assert figures["candidates"]["ours"]["cold_ms"]["n"] >= 10
    assert re.fullmatch("[0-9a-f]{12}", figures["commit"])


def test_missed_goal_is_marked(figures):
    """A value above its limit is marked as missed, even if it rounds to the limit."""
    figures["candidates"]["ours"]["rss_mb"] = 150.1
    assert "| peak RSS | 150 MB | ≤ 150 MB | **missed** |" in tables.goals(figures)
    figures["candidates"]["ours"]["rss_mb"] = 149.9
    assert "| peak RSS | 150 MB | ≤ 150 MB | met |" in tables.goals(figures)


def test_missing_figures_are_omitted(figures):
    """Without Docker, image sizes and throughput are not measured, and the tables omit them."""
    without = figures | {"throughput": None, "from_disk": None}
    for candidate in without["candidates"].values():
        candidate["image_mb"] = None
    page = tables.goals(without) + tables.full(without) + tables.short(without)
    assert "image, unpacked" not in page
    assert "uvicorn" not in page
