"""The simulated fleet: properties for any traffic, cases with a formula, and one environment against the emulator."""

import json
import math
from dataclasses import asdict, replace
from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.bench import cost, fleet
from infra.bench.fleet import (
    QUEUED_REQUESTS,
    WARM_REQUESTS,
    BenchError,
    find_break_even,
    list_assumptions,
    measure_agreement,
    read_times,
    simulate_traffic,
    summarize,
)
from infra.bench.fleet_figures import render
from infra.bench.fleet_simulation import (
    EMULATOR,
    ON_DEMAND,
    PROVISIONED,
    SNAPSTART,
    Load,
    Period,
    Rules,
    StartType,
    Times,
    count_settled,
    draw,
    make_burst,
    make_steady,
    simulate,
    time_requests,
)
from infra.emulator.runtime import lambda_runtime

pytestmark = pytest.mark.slow

TIMES = Times(init=350, first=40, warm_p50=12, warm_p95=15, warm_p99=18, cold_spread=1.2)
UNLIMITED = Rules(environments=1e9, environments_per_s=1e9)
SMALL = Rules(environments=3, environments_per_s=2, idle_s=1)  # limits that the little traffic of Hypothesis reaches


def constant_load(arrivals, *, warm=0.01, cold=0.4):
    arrivals = np.array(arrivals, dtype=float)
    return Load(arrivals, np.full(len(arrivals), warm), np.full(len(arrivals), cold))


def kinds(outcome):
    return [StartType(value).name for value in outcome.start_types]


LOADS = st.builds(
    constant_load,
    st.lists(st.floats(0, 20), min_size=1, max_size=60).map(sorted),
    warm=st.floats(0.001, 2),
    cold=st.floats(0.001, 3),
)
RULES = st.builds(replace, st.just(SMALL), provisioned=st.integers(0, 3), warm=st.integers(0, 2))


# Single requests


def test_first_request_waits_for_an_environment():
    """The first request is a cold start; a later one finds the environment warm."""
    outcome = simulate(constant_load([0, 1]), Rules())
    assert ["COLD", "WARM"] == kinds(outcome)
    assert pytest.approx([0.4, 0.01]) == outcome.latency


def test_environment_serves_one_request_at_a_time():
    """A concurrent request starts a second environment."""
    outcome = simulate(constant_load([0, 0.1]), Rules())
    assert ["COLD", "COLD"] == kinds(outcome)
    assert [0, 1] == outcome.busy.tolist()
    assert [1, 2] == outcome.environments.tolist()


def test_idle_environment_ends():
    """A request after the idle time is a cold start; a request just before is warm."""
    assert ["COLD", "WARM", "COLD"] == kinds(simulate(constant_load([0, 600, 1200.5], warm=0.4), Rules(idle_s=600)))


def test_most_recently_used_environment_serves_the_request():
    """The other environment ends, although there is continuous traffic."""
    every_second = [0, 0, *range(1, 13)]
    outcome = simulate(constant_load(every_second), Rules(idle_s=10))
    assert [2, 1] == [outcome.environments.max(), outcome.environments[-1]]


def test_request_over_the_limit_is_throttled():
    """The fourth of four concurrent requests is throttled if three environments may start."""
    outcome = simulate(constant_load([0, 0, 0, 0]), SMALL)
    assert ["COLD"] * 3 + ["THROTTLED"] == kinds(outcome)
    assert math.isnan(outcome.latency[3])


def test_a_thousand_environments_start_at_once_and_a_hundred_a_second():
    """The published limits are refilled continuously: half a second allows fifty more environments."""
    outcome = simulate(constant_load([0.0] * 1100 + [0.5] * 100, cold=10), Rules())
    started = outcome.start_types == StartType.COLD
    assert [1000, 50] == [started[:1100].sum(), started[1100:].sum()]


def test_requests_a_second_are_limited_as_environments_are():
    """Ten requests per environment that may start: 10,000 in the first second, even if they are short."""
    arrivals = np.linspace(0, 0.999, 12_000)
    outcome = simulate(constant_load(arrivals, warm=1e-6, cold=1e-6), Rules())
    assert 2_000 == (outcome.start_types == StartType.THROTTLED).sum()


def test_provisioned_environments_are_warm():
    """Provisioned environments are warm from the first request on; an additional request is a cold start."""
    outcome = simulate(constant_load([0, 0, 0]), Rules(provisioned=2))
    assert ["PROVISIONED", "PROVISIONED", "COLD"] == kinds(outcome)


def test_provisioned_environments_take_ten_requests_a_second():
    """Faster requests use on-demand environments ("whichever happens first")."""
    outcome = simulate(constant_load(np.arange(12) / 80, warm=0.001), Rules(provisioned=1))
    assert ["PROVISIONED"] * 11 + ["COLD"] == kinds(outcome)  # the eleventh is what 0.1 s refilled


def test_requests_wait_in_order_for_the_emulator():
    """The first request waits for the startup, each other one for the request before it."""
    outcome = simulate(constant_load([0, 0.1, 0.2], warm=0.05, cold=0.4), EMULATOR)
    assert ["COLD", "WARM", "WARM"] == kinds(outcome)
    assert pytest.approx([0.4, 0.35, 0.3]) == outcome.latency


# Properties for any traffic


@given(LOADS, RULES)
def test_every_request_is_served_or_throttled(load, rules):
    """No request is lost or counted twice, and only served requests have a latency."""
    outcome = simulate(load, rules)
    throttled = outcome.start_types == StartType.THROTTLED
    assert len(load.arrivals) == len(outcome.start_types) == throttled.sum() + (~np.isnan(outcome.latency)).sum()
    assert (outcome.latency[~throttled] >= outcome.duration[~throttled] - 1e-9).all()


@given(LOADS, RULES)
def test_environments_never_start_faster_than_the_rule(load, rules):
    """Between two starts, at most the size of the bucket and its refill are started."""
    at = load.arrivals[simulate(load, rules).start_types == StartType.COLD]
    for first in range(len(at)):
        for last in range(first, len(at)):
            allowed = rules.environments + rules.environments_per_s * (at[last] - at[first])
            assert last - first + 1 <= allowed + 1e-6


@given(LOADS, RULES)
def test_no_more_environments_are_busy_than_exist(load, rules):
    """The number of busy environments never exceeds the number of environments or of running requests."""
    outcome = simulate(load, rules)
    assert (outcome.busy <= outcome.environments).all()
    ends = load.arrivals + outcome.latency
    for request, arrival in enumerate(load.arrivals):
        assert outcome.busy[request] <= (ends[:request] >= arrival - 1e-9).sum()


@given(LOADS)
def test_waiting_requests_are_not_throttled(load):
    """The emulator answers all requests, one after the other, in order."""
    outcome = simulate(load, EMULATOR)
    ends = load.arrivals + outcome.latency
    assert "THROTTLED" not in kinds(outcome)
    assert (np.diff(ends) >= outcome.duration[1:] - 1e-9).all()


# Queueing theory


def test_busy_environments_are_poisson_distributed():
    """M/D/infinity: without slower cold starts, 100 requests/s of 20 ms find Poisson(2) busy environments."""
    draws = draw([Period(100, 500, counted=True)], seed=2)
    outcome = simulate(constant_load(draws.arrivals, warm=0.02, cold=0.02), UNLIMITED)
    expected = [math.exp(-2) * 2**k / math.factorial(k) for k in range(5)]
    assert pytest.approx(expected, abs=0.01) == [(outcome.busy == k).mean() for k in range(5)]


def test_share_of_cold_starts_is_the_share_of_long_gaps():
    """A share of exp(-rate * idle) of Poisson arrivals has a gap longer than the idle time."""
    rate = 0.003
    draws = draw([Period(rate, 10_000 / rate, counted=True)], seed=3)
    outcome = simulate(time_requests(draws, TIMES, TIMES.init), Rules(idle_s=600, warm=1))
    assert pytest.approx(math.exp(-rate * 600), abs=0.015) == (outcome.start_types == StartType.COLD).mean()


# Traffic and times


def test_service_times_keep_the_measured_quantiles():
    """Drawn durations have the p50 and p99 of the benchmark and the p95 of the fit."""
    draws = draw([Period(1000, 200, counted=True)], seed=4)
    warm = 1000 * time_requests(draws, TIMES, TIMES.init).warm
    expected = [TIMES.warm_p50, TIMES.fitted_p95, TIMES.warm_p99]
    assert pytest.approx(expected, rel=0.01) == np.quantile(warm, [0.5, 0.95, 0.99]).tolist()
    assert pytest.approx(TIMES.warm_mean, rel=0.01) == warm.mean()


def test_cold_starts_keep_the_measured_spread():
    """Drawn cold starts have the median of startup plus first request, and the measured spread."""
    draws = draw([Period(1000, 200, counted=True)], seed=5)
    p50, p95 = np.quantile(1000 * time_requests(draws, TIMES, TIMES.init).cold, [0.5, 0.95])
    assert pytest.approx([390, TIMES.cold_spread], rel=0.01) == [p50, p95 / p50]


@pytest.mark.parametrize("rate", [1, 100, 10_000])
def test_traffic_is_long_enough(rate):
    """Steady traffic has a minute and 80,000 requests or more, at most a day; bursts have 2,000 requests or more."""
    counted = {
        name: [p for p in periods(rate, 600) if p.counted] for name, periods in (("s", make_steady), ("b", make_burst))
    }
    assert 60 <= sum(period.seconds for period in counted["s"]) <= 86_400
    assert 80_000 <= sum(period.rate * period.seconds for period in counted["s"])
    assert 2_000 <= sum(period.rate * period.seconds for period in counted["b"])


def test_the_same_seed_gives_the_same_traffic():
    """Equal seeds give equal traffic; another seed gives other traffic."""
    one, same, other = (draw(make_steady(100, 1), seed) for seed in (6, 6, 7))
    assert (one.arrivals == same.arrivals).all()
    assert (one.warm_z == same.warm_z).all()
    assert len(one.arrivals) != len(other.arrivals)


def test_fleet_in_steady_state_has_almost_no_cold_starts():
    """With the environments of a steady state, 1,000 requests/s for 20 s cause at most two cold starts."""
    draws = draw([Period(1000, 20, counted=True)], seed=8)
    warm = count_settled(1000, TIMES, idle_s=600)
    outcome = simulate(time_requests(draws, TIMES, TIMES.init), Rules(warm=warm))
    assert (outcome.start_types == StartType.COLD).sum() <= 2
    assert warm <= 3 * 1000 * TIMES.warm_mean / 1000


# Costs


def simulated(strategy, rules):
    periods = [Period(20, 60, counted=True)]
    draws = draw(periods, seed=9)
    return summarize(strategy, "steady", periods, draws, time_requests(draws, TIMES, TIMES.init), rules)


def test_on_demand_pays_for_time_and_requests():
    """Each request costs about 12.7 ms of 1.73 GB, rounded up; one cold start is negligible."""
    exactly = cost.usd_per_million(TIMES.warm_mean + 0.5, 1769)
    assert pytest.approx(exactly, rel=0.05) == simulated(ON_DEMAND, Rules(warm=5)).usd_per_million


def test_provisioned_environments_cost_by_the_hour():
    """Each environment adds the same hourly price; its requests cost less than on demand."""
    four, five = (simulated(PROVISIONED, Rules(provisioned=count)) for count in (4, 5))
    hour = 3600 * 1769 / 1024 * 0.0000041667
    assert pytest.approx(hour, rel=1e-6) == five.usd_per_hour - four.usd_per_hour
    assert four.usd_per_hour - 4 * hour < simulated(ON_DEMAND, Rules(warm=5)).usd_per_hour


def test_snapstart_costs_snapshot_and_restores():
    """If a restore takes as long as an init, the cost differs only by snapshot and restores."""
    plain, restored = simulated(ON_DEMAND, Rules()), simulated(SNAPSTART, Rules())
    gb = 1769 / 1024
    more = gb * (3600 * 0.0000015046 + restored.cold_per_hour * 0.0001397998)
    assert pytest.approx(more, rel=1e-6) == restored.usd_per_hour - plain.usd_per_hour


def test_throttled_requests_cost_nothing():
    """Throttled requests are not billed, and the cost per million counts served requests only."""
    some = simulated(ON_DEMAND, Rules(environments=1, environments_per_s=0, requests_per_environment=1e9))
    assert 0 < some.throttled_share < 1
    per_hour = some.usd_per_million / 1e6 * some.requests * (1 - some.throttled_share) * 60
    assert pytest.approx(some.usd_per_hour) == per_hour


def test_costs_are_equal_at_break_even():
    """Provisioned and on-demand environments cost the same, and so do init and restore."""
    even, prices = find_break_even(TIMES, idle_s=600, restore_ms=400), cost.PRICES["x86_64"]
    busy = even.provisioned_busy_share
    provisioned = prices.provisioned_gb_second + busy * prices.provisioned_busy_gb_second
    assert pytest.approx(busy * prices.gb_second) == provisioned
    restore = cost.SNAPSTART_RESTORED_GB + 0.4 * prices.gb_second
    assert pytest.approx(even.snapstart_from_init_ms / 1000 * prices.gb_second) == restore
    assert pytest.approx(0.01) == math.exp(-600 * even.p99_cold_below_rate)


@pytest.fixture(scope="module")
def few():
    """Return the answers for one request per second, which is fast to simulate."""
    return simulate_traffic(TIMES, rates=(1,), idle_s=60, restore_ms=100, seed=10)


def test_strategies_get_the_same_requests(few):
    """All strategies serve the same number of requests of each traffic."""
    assert {"steady", "burst"} == {a.traffic for a in few}
    for traffic in ("steady", "burst"):
        same = [a for a in few if a.traffic == traffic]
        assert [ON_DEMAND, PROVISIONED, SNAPSTART] == [a.strategy for a in same]
        assert 1 == len({a.requests for a in same})


def test_report_has_every_answer_and_assumption(few):
    """The report has a row per answer, break-even points, assumptions and the agreement with the emulator."""
    even, assumed = find_break_even(TIMES, 60, 100), list_assumptions(TIMES, 60, 100)
    rows = [asdict(answer) for answer in few]
    text = render({"traffic": rows, "break_even": asdict(even), "assumptions": assumed, "agreement": 1.25})
    assert len(few) == sum(line.startswith("| 1 |") for line in text.splitlines())
    assert "An idle environment ends after 60 s" in text
    assert "SnapStart restores in 100 ms" in text
    assert "it is shorter than an init of this function" in text
    assert "p50 of 1.25 to 1" in text


# The file of the benchmark

OURS = {
    "cold_ms": {"p50": 400, "p95": 480, "n": 10},
    "init_ms": {"p50": 350},
    "first_ms": {"p50": 40},
    "warm_ms": {"500x375": {"p50": 12, "p95": 15, "p99": 18}},
}


def written(path, ours):
    path.write_text(json.dumps({"hardware": "", "commit": "", "candidates": {"ours": ours}}))
    return path


def test_times_come_from_the_benchmark(tmp_path):
    """The times are those of the function with the small photo."""
    assert TIMES == read_times(written(tmp_path / "bench.json", OURS))


def test_missing_figure_is_named(tmp_path):
    """The error names the file, the figure and the command that writes it."""
    path = written(tmp_path / "bench.json", {**OURS, "init_ms": {}})
    with pytest.raises(BenchError, match=rf"^{path}: KeyError\('p50'\); expected what `make bench` writes$"):
        read_times(path)


@pytest.mark.parametrize(("content", "reason"), [(None, "No such file or directory"), ("{", "JSONDecodeError")])
def test_unreadable_file_is_one_line(tmp_path, capsys, content, reason):
    """A file that is missing or not JSON gives one line on standard error and exit code 1."""
    path = tmp_path / "bench.json"
    if content:
        path.write_text(content)
    assert 1 == fleet.main(path)
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith(f"fleet: {path}: ")
    assert reason in line


# The emulator


LOGGING = """
import time
from pathlib import Path

FILE = Path(__file__).with_name("log.txt")


def log(event):
    with FILE.open("a") as file:
        file.write(event + " ")


log("init")


def handler(event, context):
    log("begin")
    time.sleep(0.01)
    log("end")
    return {"statusCode": 200}
"""


@pytest.mark.rie
def test_emulator_serves_queue_one_by_one(tmp_path):
    """As in the simulation, the queue waits for one cold start, and requests never overlap.

    `make bench` measures how close the simulated times are, because times depend on the machine.
    """
    (tmp_path / "logging_handler.py").write_text(LOGGING)
    assert measure_agreement(1, partial(lambda_runtime, "logging_handler.handler", task=tmp_path)) > 0
    warm, queued = (["init", *["begin", "end"] * count] for count in (1 + WARM_REQUESTS, QUEUED_REQUESTS))
    assert [*warm, *queued] == (tmp_path / "log.txt").read_text().split()
