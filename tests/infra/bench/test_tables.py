"""The pages made from artifacts/bench.json."""

import json
import re

import pytest

from infra.bench import pages, tables
from infra.bench.candidates import CANDIDATES


@pytest.fixture
def figures():
    """The committed ones, safe to change."""
    return json.loads(tables.BENCH.read_text())


def test_the_tables_are_those_of_the_last_benchmark():
    """infra/bench/RESULTS.md is what the committed figures say."""
    page = pages.RESULTS.read_text()
    assert pages.rendered(page) == page
    runbook = pages.RUNBOOK.read_text()
    assert pages.rendered_runbook(runbook) == runbook


def test_every_candidate_is_in_the_figures(figures):
    """Under the names of the contract."""
    assert [each.name for each in CANDIDATES] == list(figures["candidates"])
    assert set(tables.WORDS) == set(figures["candidates"])


def test_the_committed_figures_are_of_the_whole_benchmark(figures):
    """Not of a quick run, in containers, ten starts or more, of a commit and nothing else."""
    assert (False, True) == (figures["quick"], "containers" in figures["hardware"])
    assert figures["candidates"]["ours"]["cold_ms"]["n"] >= 10
    assert re.fullmatch("[0-9a-f]{12}", figures["commit"])


def test_a_missed_goal_is_called_missed(figures):
    """The page cannot flatter."""
    figures["candidates"]["ours"]["rss_mb"] = 150.1
    assert "| peak RSS | 150 MB | ≤ 150 MB | **missed** |" in tables.goals(figures)
    figures["candidates"]["ours"]["rss_mb"] = 149.9
    assert "| peak RSS | 150 MB | ≤ 150 MB | met |" in tables.goals(figures)


def test_what_was_not_measured_is_left_out(figures):
    """Without Docker there are no image sizes and no throughput; the pages say nothing about them."""
    without = figures | {"throughput": None, "from_disk": None}
    for candidate in without["candidates"].values():
        candidate["image_mb"] = None
    page = tables.goals(without) + tables.full(without) + tables.short(without)
    assert "image, unpacked" not in page
    assert "uvicorn" not in page
