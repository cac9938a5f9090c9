"""Test that the benchmark of the input pipeline runs and reports its measurement."""

from tests.training.processes import copy_prepared
from training.figures import read_figures
from training.tools import input_benchmark as benchmark
from training.tools.input_benchmark import relative_speed
from training.tools.results_page import render_input


def test_input_benchmark_measures_both_sources(trained, project, monkeypatch):
    """Each round measures both sources, and the page has the share of the speed."""
    copy_prepared(trained, project, train__architecture="logistic")
    monkeypatch.setattr("sys.argv", ["benchmark", "--steps", "2", "--rounds", "3"])
    benchmark.main()
    figures = read_figures("input")
    assert [3, 3] == [len(figures["images_per_second"][kind]) for kind in ("photos", "memory")]
    assert f"**{100 * figures['share']:.0f} %** of that speed" in render_input(figures)


def test_relative_speed_compares_within_a_round():
    """The speed is compared within each round, so that load that slows a whole round does not change it."""
    assert 0.9 == relative_speed({"photos": [90, 9, 95], "memory": [100, 10, 100]})
