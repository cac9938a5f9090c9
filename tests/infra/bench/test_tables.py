"""Test the tables of the benchmark, from artifacts/bench.json."""

import json
import re

import pytest

from infra.bench import tables
from infra.bench.candidates import CANDIDATES


@pytest.fixture
def figures():
    """Return the committed figures; a test may change them."""
    return json.loads(tables.BENCH.read_text())


def test_every_candidate_is_in_the_figures(figures):
    """The figures have exactly the candidates of the benchmark, and each has a label."""
    assert [each.name for each in CANDIDATES] == list(figures["candidates"])
    assert set(tables.LABELS) == set(figures["candidates"])


def test_committed_figures_are_of_a_complete_run(figures):
    """The committed run is not quick, used containers and ten starts or more, and measured a clean commit."""
    assert (False, True) == (figures["quick"], "containers" in figures["hardware"])
    assert figures["candidates"]["function"]["cold_ms"]["n"] >= 10
    assert re.fullmatch("[0-9a-f]{12}", figures["commit"])


def test_goal_over_its_limit_is_missed(figures):
    """A value above the limit is marked as missed, although it rounds to the limit."""
    figures["candidates"]["function"]["rss_mb"] = 125.1
    assert "| peak RSS | 125 MB | ≤ 125 MB | **missed** |" in tables.render_goals(figures)
    figures["candidates"]["function"]["rss_mb"] = 124.9
    assert "| peak RSS | 125 MB | ≤ 125 MB | met |" in tables.render_goals(figures)


def test_candidate_that_only_imports_has_no_time_per_photo(figures):
    """The row of imports only has the times of the start, and empty cells for the photos and the billed time."""
    row = next(line for line in tables.render_full(figures).splitlines() if line.startswith("| `floor_imports` | "))
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert all(cells[1:4])
    assert {""} == set(cells[4:])


def test_missing_figures_are_left_out(figures):
    """Without Docker there are no image sizes and no throughput, and the tables omit both."""
    without = figures | {"throughput": None, "from_disk": None}
    for candidate in without["candidates"].values():
        candidate["image_mb"] = None
    without["compressed_mb"] = None
    page = tables.render_goals(without) + tables.render_full(without) + tables.render_short(without)
    assert "image, unpacked" not in page
    assert "uvicorn" not in page
