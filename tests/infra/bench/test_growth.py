"""Test the benchmark of growth: a tiny run with Lambda's emulator, the summary and the tables."""

import json

import pytest

from infra.bench import candidates, growth, images
from infra.bench.growth import FULL, Plan, make_photo, render, summarize_memory, write
from infra.bench.sandbox import SandboxError, process

pytestmark = pytest.mark.slow

TINY = Plan(starts=1, warm=2, requests=30, megapixels=(0.1, 1), batches=(1, 2, 8))
FIGURES = {
    "hardware": "test machine",
    "commit": "0123456789ab",
    "photo_size": [
        {"megapixels": 0.1, "bytes": 29_080, "ms": {"p50": 8.12, "p95": 9.31}, "rss_mb": 140.2},
        {"megapixels": 20, "bytes": 4_016_431, "ms": {"p50": 101.0, "p95": 120.4}, "rss_mb": 171.9},
    ],
    "batch": [
        {"photos": 1, "ms_per_photo": 5.0, "ms": {"p50": 5.0, "p95": 6.0}, "rss_mb": 131.5},
        {"photos": 32, "ms_per_photo": 6.25, "ms": {"p50": 200.0, "p95": 210.0}, "rss_mb": 530.7},
    ],
    "requests": summarize_memory([(250, 150.0), (500, 160.0), (9_750, 170.0), (10_000, 164.0)]),
}


@pytest.fixture(scope="module")
def staged(tmp_path_factory):
    """Stage the batch handler in a temporary folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(candidates, "STAGED", tmp_path_factory.mktemp("staged"))
        yield


@pytest.fixture(scope="module")
def tiny_run(staged):
    """Return the figures of a run with few sizes and requests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(growth, "SAMPLE_INTERVAL", 5)
        patch.setattr(growth, "SETTLED", 10)
        return growth.measure(process, TINY)


@pytest.mark.rie
class TestTinyRun:
    def test_figures_follow_the_plan(self, tiny_run):
        """The figures have every size once, in order."""
        assert [*TINY.megapixels] == [row["megapixels"] for row in tiny_run["photo_size"]]
        assert [*TINY.batches] == [row["photos"] for row in tiny_run["batch"]]
        assert [5, 10, 15, 20, 25, 30] == [n for n, _ in tiny_run["requests"]["rss_mb"]]

    def test_figures_are_plausible(self, tiny_run):
        """Larger photos have more bytes, and p95 is at least the median."""
        sizes, batches = tiny_run["photo_size"], tiny_run["batch"]
        assert sorted(row["bytes"] for row in sizes) == [row["bytes"] for row in sizes]
        assert all(0 < row["ms"]["p50"] <= row["ms"]["p95"] for row in (*sizes, *batches))

    def test_memory_is_in_megabytes(self, tiny_run):
        """The memory peaks are in MB, as reported by /proc."""
        assert all(50 < row["rss_mb"] < 1000 for row in tiny_run["batch"])


@pytest.mark.rie
def test_failed_run_is_an_error(staged):
    """A batch that the function rejects raises an error with its response."""
    images.stage(growth.BATCH)
    with process(growth.BATCH) as sandbox, pytest.raises(SandboxError, match="expected run_ms"):
        growth.read_run_ms(sandbox, b"{}")


def test_compared_samples_follow_equal_requests():
    """Between the two compared samples, each of the four other photos is sent equally often."""
    cycle = growth.OTHER_INTERVAL * 4
    assert (0, 0) == (growth.SETTLED % growth.SAMPLE_INTERVAL, FULL.requests % growth.SAMPLE_INTERVAL)
    assert growth.SETTLED % cycle == FULL.requests % cycle


def test_photo_has_the_requested_size():
    """A photo has the requested number of pixels and the aspect ratio 4:3."""
    photo = make_photo(0.5)
    assert pytest.approx(0.5e6, rel=0.01) == photo.width * photo.height
    assert pytest.approx(4 / 3, rel=0.01) == photo.width / photo.height


def test_largest_photo_fits_into_a_request():
    """The largest photo is below the limit of a function URL."""
    assert len(make_photo(FULL.megapixels[-1]).data) <= 4_500_000


def test_memory_growth_compares_two_samples():
    """Only the samples after 500 requests and at the end count, not those before or in between."""
    summary = summarize_memory([(250, 90.0), (500, 100.0), (750, 130.0), (1000, 104.0)])
    assert (100.0, 104.0, 1.04) == (summary["after_500"], summary["after_last"], summary["growth"])


def test_memory_growth_needs_500_requests():
    """Without a sample after 500 requests, an error is raised."""
    with pytest.raises(KeyError, match="500"):
        summarize_memory([(250, 90.0)])


def test_table_has_every_size_and_the_verdict():
    """The tables have a row per size, and a sentence states whether memory leaks."""
    lines = render(FIGURES).splitlines()
    assert "| 20 MP | 4.02 | 101.0 | 120.4 | 172 |" in lines
    assert "| 32 | 200.0 | 210.0 | 6.25 | 531 |" in lines
    assert (
        "RSS is 160.0 MB after 500 requests and 164.0 MB after 10,000 consecutive requests: 1.025 x, limit 1.05 x, met."
        in lines
    )
    assert "Measured on test machine; commit `0123456789ab`." in lines


def test_table_marks_a_leak():
    """Growth above 5 % is marked as missed, in bold."""
    leaking = FIGURES | {"requests": summarize_memory([(500, 100.0), (10_000, 105.1)])}
    assert "1.051 x, limit 1.05 x, **missed**" in render(leaking)


def test_write_is_deterministic(tmp_path, monkeypatch):
    """The JSON equals the figures, and equal figures give equal bytes of the PNG."""
    monkeypatch.setattr(growth, "GROWTH", tmp_path / "growth.json")
    monkeypatch.setattr(growth, "PLOT", tmp_path / "plots/growth.png")
    pictures = []
    for _ in range(2):
        write(FIGURES)
        pictures.append(growth.PLOT.read_bytes())
    assert json.loads(json.dumps(FIGURES)) == json.loads(growth.GROWTH.read_text())
    assert b"\x89PNG" == pictures[0][:4]
    assert pictures[0] == pictures[1]
