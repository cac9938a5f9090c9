"""Growth with photo, batch and requests: a tiny run through Lambda's emulator, and what is made of figures."""

import json

import pytest

from infra.bench import candidates, growth, images
from infra.bench.growth import FULL, QUICK, Plan, leak, photo_of, table, write
from infra.bench.sandbox import SandboxError, process
from infra.emulator.runtime import RuntimeNotFound, find_rie

pytestmark = pytest.mark.slow

TINY = Plan(lives=1, warm=2, requests=30, megapixels=(0.1, 1), batches=(1, 2, 8))
FIGURES = {
    "hardware": "one abacus",
    "commit": "0123456789ab",
    "quick": False,
    "photo_size": [
        {"megapixels": 0.1, "bytes": 29_080, "ms": {"p50": 8.12, "p95": 9.31}, "rss_mb": 140.2},
        {"megapixels": 20, "bytes": 4_016_431, "ms": {"p50": 101.0, "p95": 120.4}, "rss_mb": 171.9},
    ],
    "batch": [
        {"photos": 1, "ms_per_photo": 5.0, "ms": {"p50": 5.0, "p95": 6.0}, "rss_mb": 131.5},
        {"photos": 32, "ms_per_photo": 6.25, "ms": {"p50": 200.0, "p95": 210.0}, "rss_mb": 530.7},
    ],
    "requests": leak([(250, 150.0), (500, 160.0), (9_750, 170.0), (10_000, 164.0)]),
}


@pytest.fixture(scope="module")
def staged(tmp_path_factory):
    """Where the batch's handler is copied to; only with an emulator that can run it."""
    try:
        find_rie()
    except RuntimeNotFound as error:
        pytest.skip(str(error))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(candidates, "STAGED", tmp_path_factory.mktemp("staged"))
        yield


@pytest.fixture(scope="module")
def tiny_run(staged):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(growth, "EVERY", 5)
        patch.setattr(growth, "SETTLED", 10)
        return growth.growth(process, TINY)


@pytest.mark.rie
class TestTinyRun:
    def test_every_size_once_and_in_order(self, tiny_run):
        """The figures follow the plan."""
        assert [*TINY.megapixels] == [found["megapixels"] for found in tiny_run["photo_size"]]
        assert [*TINY.batches] == [found["photos"] for found in tiny_run["batch"]]
        assert [5, 10, 15, 20, 25, 30] == [n for n, _ in tiny_run["requests"]["rss_mb"]]

    def test_more_is_more(self, tiny_run):
        """More pixels are more bytes, and no quantile is below the median."""
        sizes, batches = tiny_run["photo_size"], tiny_run["batch"]
        assert sorted(found["bytes"] for found in sizes) == [found["bytes"] for found in sizes]
        assert all(0 < found["ms"]["p50"] <= found["ms"]["p95"] for found in (*sizes, *batches))

    def test_a_batch_takes_memory(self, tiny_run):
        """A run of eight photos takes more memory at its peak than a run of one; megabytes, as /proc says."""
        one, *_, eight = (found["rss_mb"] for found in tiny_run["batch"])
        assert 50 < one < eight < 1000

    def test_it_is_json(self, tiny_run):
        """What is measured can be written and read again."""
        assert json.loads(json.dumps(tiny_run))["batch"] == tiny_run["batch"]


@pytest.mark.rie
def test_function_that_fails(staged):
    """A batch that the function cannot answer is an error with its words, not a time."""
    images.stage(growth.BATCH)
    with process(growth.BATCH) as sandbox, pytest.raises(SandboxError, match="expected run_ms"):
        growth.run_ms(sandbox, b"{}")


def test_more_photos_took_longer():
    """In all, as last measured by `make bench`; a busy machine may stop a small batch for longer than a large takes."""
    times = [found["ms"]["p50"] for found in json.loads(growth.GROWTH.read_text())["batch"]]
    assert sorted(times) == times
    assert len(FULL.batches) == len(times)


def test_plans():
    """Photos of 0.1 to 20 MP, batches of 1 to 32, and 10,000 requests; the quick plan only repeats less."""
    assert (0.1, 20, 1, 32, 10_000) == (
        FULL.megapixels[0], FULL.megapixels[-1], FULL.batches[0], FULL.batches[-1], FULL.requests,
    )  # fmt: skip
    assert (FULL.megapixels, FULL.batches) == (QUICK.megapixels, QUICK.batches)


@pytest.mark.parametrize("plan", [FULL, QUICK])
def test_looks_that_are_compared_see_the_same(plan):
    """Between the look at a settled function and the last one, every other photo came equally often."""
    cycle = growth.OTHER * 4
    assert (0, 0) == (growth.SETTLED % growth.EVERY, plan.requests % growth.EVERY)
    assert growth.SETTLED % cycle == plan.requests % cycle


def test_megapixels():
    """A photo has as many pixels as asked for, 4:3."""
    photo = photo_of(0.5)
    assert pytest.approx(0.5e6, rel=0.01) == photo.width * photo.height
    assert pytest.approx(4 / 3, rel=0.01) == photo.width / photo.height


def test_largest_photo():
    """The largest one is still a request that a function URL takes."""
    assert len(photo_of(FULL.megapixels[-1]).data) <= 4_500_000


def test_growth_is_last_to_settled():
    """Neither what came before the function was settled nor a peak in between counts."""
    found = leak([(250, 90.0), (500, 100.0), (750, 130.0), (1000, 104.0)])
    assert (100.0, 104.0, 1.04) == (found["after_500"], found["after_last"], found["growth"])


def test_growth_of_too_few():
    """Without a look at the settled function there is no growth to tell."""
    with pytest.raises(KeyError, match="500"):
        leak([(250, 90.0)])


def test_table():
    """A row a size, and whether memory leaks."""
    lines = table(FIGURES).splitlines()
    assert "| 20 MP | 4.02 | 101.0 | 120.4 | 172 |" in lines
    assert "| 32 | 200.0 | 210.0 | 6.25 | 531 |" in lines
    assert "RSS is 160.0 MB after 500 requests and 164.0 MB after 10,000 in a row: 1.025 x, limit 1.05 x, met." in lines
    assert "On one abacus; commit `0123456789ab`." in lines


def test_table_of_a_leak():
    """More than 5 % is a missed limit, in bold."""
    leaking = FIGURES | {"requests": leak([(500, 100.0), (10_000, 105.1)])}
    assert "1.051 x, limit 1.05 x, **missed**" in table(leaking)


def test_write(tmp_path, monkeypatch):
    """JSON that reads as it was, and a PNG whose bytes depend on the figures alone."""
    monkeypatch.setattr(growth, "GROWTH", tmp_path / "growth.json")
    monkeypatch.setattr(growth, "PLOT", tmp_path / "plots/growth.png")
    pictures = []
    for _ in range(2):
        write(FIGURES)
        pictures.append(growth.PLOT.read_bytes())
    assert json.loads(json.dumps(FIGURES)) == json.loads(growth.GROWTH.read_text())
    assert b"\x89PNG" == pictures[0][:4]
    assert pictures[0] == pictures[1]
