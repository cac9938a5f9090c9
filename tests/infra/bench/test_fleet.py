"""Test the simulated fleet: single requests, properties for any traffic, cases with formulas, costs and the command."""

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.bench import cost, fleet
from infra.bench.fleet import (
    COLD,
    IDLE_S,
    ON_DEMAND,
    PROVISIONED,
    READY,
    RESTORE_MS,
    STRATEGIES,
    TRAFFIC,
    WARM,
    Requests,
    Times,
    Traffic,
    compute_usd,
    draw,
    find_break_even,
    read_times,
    render,
    simulate,
    size_fleet,
    summarize,
)

TIMES = Times(init=350, first=40, warm=12, warm_sigma=0.17, cold_sigma=0.1)
SHORT = Traffic(before=20, rate=20, seconds=60)
GB = 1769 / 1024


def constant_times(arrivals, *, warm=0.01, cold=0.4):
    arrivals = np.array(arrivals, dtype=float)
    return Requests(arrivals, np.full(len(arrivals), warm), np.full(len(arrivals), cold))


REQUESTS = st.builds(
    constant_times,
    st.lists(st.floats(0, 2 * IDLE_S), min_size=1, max_size=30).map(sorted),
    warm=st.floats(0.001, 60),
    cold=st.floats(0.001, 90),
)


# Single requests


def test_first_request_waits_for_an_environment():
    """The first request is a cold start, and a later one finds the environment warm."""
    starts, latency, _ = simulate(constant_times([0, 1]))
    assert [COLD, WARM] == starts.tolist()
    assert pytest.approx([0.4, 0.01]) == latency


def test_environment_serves_one_request_at_a_time():
    """A concurrent request starts a second environment."""
    starts, _, environments = simulate(constant_times([0, 0.1]))
    assert [COLD, COLD] == starts.tolist()
    assert [1, 2] == environments.tolist()


def test_idle_environment_ends():
    """A request after the idle time is a cold start; a request just before is warm."""
    starts, _, environments = simulate(constant_times([0, IDLE_S, 2 * IDLE_S + 0.5], warm=0.4))
    assert [COLD, WARM, COLD] == starts.tolist()
    assert [1, 1, 1] == environments.tolist()


def test_most_recently_used_environment_serves_the_request():
    """The most recently used environment serves each request, so that the other one becomes idle and ends."""
    _, _, environments = simulate(constant_times([0, 0, *range(1, IDLE_S + 3)]))
    assert [2, 1] == [environments.max(), environments[-1]]


def test_provisioned_environments_are_warm():
    """Provisioned environments are warm from the first request on; an additional request is a cold start."""
    starts, _, environments = simulate(constant_times([0, 0, 0]), provisioned=2)
    assert [READY, READY, COLD] == starts.tolist()
    assert [2, 2, 3] == environments.tolist()


def test_provisioned_environments_take_ten_requests_a_second():
    """A provisioned environment serves ten requests a second; requests above that use on-demand environments."""
    starts, _, _ = simulate(constant_times(np.arange(12) / 80, warm=0.001), provisioned=1)
    assert [READY] * 11 + [COLD] == starts.tolist()  # the eleventh is what 0.1 s refilled


# Properties for any traffic


@given(REQUESTS, st.integers(0, 3), st.integers(0, 3))
def test_no_more_environments_are_busy_than_exist(requests, warm, provisioned):
    """The requests in flight never exceed the number of environments."""
    _, latency, environments = simulate(requests, warm=warm, provisioned=provisioned)
    ends = requests.arrivals + latency
    for request, arrival in enumerate(requests.arrivals):
        assert (ends[: request + 1] > arrival + 1e-9).sum() <= environments[request]


@given(REQUESTS, st.integers(0, 3))
def test_only_a_cold_start_adds_an_environment(requests, warm):
    """The number of environments grows by one with a cold start, and otherwise stays or falls."""
    starts, _, environments = simulate(requests, warm=warm)
    assert (np.diff(environments, prepend=warm) <= (starts == COLD)).all()


# Cases with a formula


def test_share_of_cold_starts_is_the_share_of_long_gaps():
    """A share of exp(-rate * idle) of Poisson arrivals has a gap longer than the idle time."""
    rate = 0.003
    starts, _, _ = simulate(draw(Traffic(rate, rate, 10_000 / rate), TIMES, TIMES.init), warm=1)
    assert pytest.approx(math.exp(-rate * IDLE_S), abs=0.015) == (starts == COLD).mean()


def test_fleet_in_steady_state_has_almost_no_cold_starts():
    """With the environments of a steady state, 100 requests a second cause at most two cold starts in ten minutes."""
    warm, _ = size_fleet(ON_DEMAND, 100, TIMES)
    starts, _, _ = simulate(draw(Traffic(100, 100, 1), TIMES, TIMES.init), warm=warm)
    assert (starts == COLD).sum() <= 2


def test_provisioned_concurrency_has_a_buffer():
    """A provisioned environment serves ten requests a second, and the fleet has a tenth more than necessary."""
    assert (0, 110) == size_fleet(PROVISIONED, 1000, TIMES)


def test_service_times_keep_the_measured_quantiles():
    """Drawn durations have the measured p50 and p99, and the mean of the fit."""
    warm = 1000 * draw(Traffic(1, 1000, 200), TIMES, TIMES.init).warm
    assert pytest.approx([12, 12 * math.exp(2.3263 * 0.17)], rel=0.01) == np.quantile(warm, [0.5, 0.99]).tolist()
    assert pytest.approx(TIMES.warm_mean, rel=0.01) == warm.mean()


def test_cold_starts_keep_the_measured_spread():
    """Drawn cold starts have the median of startup plus first request, and the measured spread."""
    p50, p95 = np.quantile(1000 * draw(Traffic(1, 1000, 200), TIMES, TIMES.init).cold, [0.5, 0.95])
    assert pytest.approx([390, math.exp(1.6449 * 0.1)], rel=0.01) == [p50, p95 / p50]


def test_strategies_get_the_same_requests():
    """Arrivals and warm times do not depend on the startup, and repeat with the same seed."""
    initialized, restored = draw(SHORT, TIMES, TIMES.init), draw(SHORT, TIMES, RESTORE_MS)
    assert (initialized.arrivals == restored.arrivals).all()
    assert (initialized.warm == restored.warm).all()


def test_traffic_stays_below_the_limits_on_scaling():
    """The simulation has no throttling, so no traffic may have 1,000 environments or 10,000 requests a second."""
    assert max(traffic.rate for traffic in TRAFFIC.values()) < 10_000
    rows = json.loads(fleet.FIGURES.read_text())["traffic"]
    assert {(name, strategy) for name in TRAFFIC for strategy in STRATEGIES} == {
        (row["traffic"], row["strategy"]) for row in rows
    }
    assert max(row["environments"] for row in rows) < 1000


# Costs


def test_on_demand_pays_for_time_and_requests():
    """The cost per million is that of the mean duration, rounded up; few cold starts are negligible."""
    row = summarize("short", SHORT, ON_DEMAND, TIMES)
    exactly = cost.usd_per_million(TIMES.warm_mean + 0.5, 1769)
    assert pytest.approx(exactly, rel=0.05) == row["usd_per_million"]
    assert pytest.approx(row["usd_per_hour"]) == row["usd_per_million"] / 1e6 * row["requests"] * 60


def test_provisioned_environments_cost_by_the_hour():
    """Each environment adds the same hourly price, and its requests cost less than on demand."""
    starts, latency = np.full(100, READY), np.full(100, 0.01)
    four, five = (compute_usd(starts, latency, 3600, provisioned=count) for count in (4, 5))
    hour = 3600 * GB * 0.0000041667
    assert pytest.approx(hour) == five - four
    assert four - 4 * hour < compute_usd(np.full(100, WARM), latency, 3600)


def test_snapstart_costs_snapshot_and_restores():
    """If a restore takes as long as an init, the cost differs only by snapshot and restores."""
    starts, latency = np.array([COLD, WARM, COLD]), np.array([0.4, 0.01, 0.4])
    plain, restored = (compute_usd(starts, latency, 3600, snapstart=snapstart) for snapstart in (False, True))
    assert pytest.approx(GB * (3600 * 0.0000015046 + 2 * 0.0001397998)) == restored - plain


def test_costs_are_equal_at_break_even():
    """Provisioned and on-demand environments cost the same, and so do init and restore."""
    even, prices = find_break_even(TIMES), cost.PRICES["x86_64"]
    busy = even["provisioned_busy_share"]
    provisioned = prices.provisioned_gb_second + busy * prices.provisioned_busy_gb_second
    assert pytest.approx(busy * prices.gb_second) == provisioned
    restore = cost.SNAPSTART_RESTORED_GB + RESTORE_MS / 1000 * prices.gb_second
    assert pytest.approx(even["snapstart_from_init_ms"] / 1000 * prices.gb_second) == restore
    assert pytest.approx(0.01) == math.exp(-IDLE_S * even["p99_cold_below_rate"])


# The command


def test_report_has_every_row_and_the_break_even():
    """The report has a row per strategy and the points of break-even."""
    rows = [summarize("short", SHORT, strategy, TIMES) for strategy in STRATEGIES]
    text = render({"traffic": rows, "break_even": find_break_even(TIMES)})
    assert 3 == sum(line.startswith("| short |") for line in text.splitlines())
    assert "60 %" in text


FUNCTION_FIGURES = {
    "cold_ms": {"p50": 400, "p95": 480, "n": 10},
    "init_ms": {"p50": 350},
    "first_ms": {"p50": 40},
    "warm_ms": {"500x375": {"p50": 12, "p95": 15, "p99": 18}},
}


def test_times_come_from_the_benchmark():
    """The times are those of the function with the small photo."""
    expected = Times(350, 40, 12, math.log(18 / 12) / 2.3263, math.log(480 / 400) / 1.6449)
    assert expected == read_times({"candidates": {"function": FUNCTION_FIGURES}})


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "No such file or directory"),
        ("{", "JSONDecodeError"),
        (
            json.dumps({"hardware": "", "commit": "", "candidates": {"function": {**FUNCTION_FIGURES, "init_ms": {}}}}),
            "KeyError\\('p50'\\)",
        ),
    ],
)
def test_error_names_reason(tmp_path, monkeypatch, content, reason):
    """For a file that is missing, not JSON or lacks a figure, the error names reason, file and remedy."""
    path = tmp_path / "bench.json"
    if content:
        path.write_text(content)
    monkeypatch.setattr("infra.bench.tables.BENCH", path)
    with pytest.raises(
        SystemExit, match=rf"^fleet: .*{reason}.* in artifacts/bench.json; expected what `make bench` writes$"
    ):
        fleet.main()
