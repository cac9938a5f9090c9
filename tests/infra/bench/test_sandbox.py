"""Test runs of a function in a real container and a real process, both with Lambda's emulator."""

import pytest

from infra.bench import images
from infra.bench.candidates import CANDIDATES, FUNCTION_IMAGE, Candidate
from infra.bench.measure import Repeats, measure_run
from infra.bench.photos import FIRST, first_photo
from infra.bench.sandbox import SandboxError, container, process

PHOTO = first_photo()
FUNCTION, DECODE_INFER = CANDIDATES[0], CANDIDATES[-1]


def launch_container(candidate: Candidate):
    """Launch a candidate in a container."""
    images.build(FUNCTION)
    return container(candidate)


LAUNCHES = [
    pytest.param(process, marks=pytest.mark.rie, id="process"),
    pytest.param(launch_container, marks=[pytest.mark.docker, pytest.mark.rie], id="container"),
]


@pytest.mark.parametrize("launch", LAUNCHES)
def test_run_measures_time_and_memory(launch):
    """A run has the cold start, the time of every request, the billed time and the peak memory."""
    run = measure_run(FUNCTION, launch, [PHOTO], Repeats(first=3, others=0, health=2))
    assert (3, 3, 2) == (len(run.warm_ms[FIRST]), len(run.durations_ms), len(run.health_ms))
    assert 0 < run.init_ms < run.cold_ms
    assert 50 < run.rss_mb < 1000
    assert all(duration < observed for duration, observed in zip(run.durations_ms, run.warm_ms[FIRST], strict=True))


@pytest.mark.parametrize("launch", LAUNCHES)
def test_lower_bound_serves_no_routes(launch):
    """The lower bound decodes a photo and runs the network; no health request is sent."""
    images.stage(DECODE_INFER)
    run = measure_run(DECODE_INFER, launch, [PHOTO], Repeats(first=1, others=0, health=1))
    assert (1, []) == (len(run.warm_ms[FIRST]), run.health_ms)


@pytest.mark.rie
def test_error_response_is_rejected():
    """A status other than 200 raises an error instead of counting as fast."""
    broken = first_photo()
    object.__setattr__(broken, "data", b"no photo")
    with pytest.raises(SandboxError, match="expected statusCode 200"):
        measure_run(FUNCTION, process, [broken], Repeats(first=1, others=0, health=0))


@pytest.mark.rie
def test_failed_start_reports_the_output():
    """The error contains the output of the process."""
    nowhere = Candidate("nowhere", "no_such_module.handler", FUNCTION_IMAGE)
    with pytest.raises(SandboxError, match="no_such_module"):
        measure_run(nowhere, process, [PHOTO], Repeats(first=1, others=0, health=0))
