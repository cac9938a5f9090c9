"""One life of a function, in a real container and in a real process, both under Lambda's emulator."""

import shutil
import subprocess
from pathlib import Path

import pytest

from infra.bench import images
from infra.bench.candidates import CANDIDATES, OURS, Candidate
from infra.bench.measure import FIRST, Repeats, live
from infra.bench.photos import photo
from infra.bench.sandbox import SandboxError, container, process
from infra.emulator.runtime import RuntimeNotFound, find_rie

PHOTO = photo(FIRST, 500, 375)
OURSELVES, DECODE_INFER = CANDIDATES[0], CANDIDATES[-1]


@pytest.fixture(autouse=True)
def emulator() -> None:
    try:
        find_rie()
    except RuntimeNotFound as missing:
        pytest.skip(str(missing))


def in_container(candidate: Candidate):
    if not shutil.which("docker") or subprocess.run(["docker", "info"], capture_output=True, check=False).returncode:
        pytest.skip("no Docker engine answers")
    images.build(OURSELVES)
    return container(candidate)


LAUNCHES = [
    pytest.param(process, marks=pytest.mark.rie, id="process"),
    pytest.param(in_container, marks=pytest.mark.docker, id="container"),
]


@pytest.mark.parametrize("launch", LAUNCHES)
def test_a_life_is_measured(launch):
    """Cold start, every request, memory, and what would be billed."""
    life = live(OURSELVES, launch, [PHOTO], Repeats(first=3, others=0, health=2))
    assert (3, 3, 2) == (len(life.warm_ms[FIRST]), len(life.billed_ms), len(life.health_ms))
    assert 0 < life.init_ms < life.cold_ms
    assert 50 < life.rss_mb < 1000
    assert all(billed < seen for billed, seen in zip(life.billed_ms, life.warm_ms[FIRST], strict=True))


@pytest.mark.parametrize("launch", LAUNCHES)
def test_the_floor_does_the_work_and_no_more(launch):
    """It decodes and runs the network, and has no routes to ask."""
    images.stage(DECODE_INFER)
    life = live(DECODE_INFER, launch, [PHOTO], Repeats(first=1, others=0, health=1))
    assert (1, []) == (len(life.warm_ms[FIRST]), life.health_ms)


@pytest.mark.rie
def test_another_answer_than_200_is_an_error():
    """A candidate that fails fast must not look fast."""
    broken = photo(FIRST, 500, 375)
    object.__setattr__(broken, "data", b"no photo")
    with pytest.raises(SandboxError, match="expected a statusCode of 200"):
        live(OURSELVES, process, [broken], Repeats(first=1, others=0, health=0))


@pytest.mark.rie
def test_a_candidate_that_does_not_start_says_why(tmp_path: Path):
    """With the output of its process."""
    nowhere = Candidate("nowhere", "no_such_module.handler", OURS)
    with pytest.raises(SandboxError, match="no_such_module"):
        live(nowhere, process, [PHOTO], Repeats(first=1, others=0, health=0))
