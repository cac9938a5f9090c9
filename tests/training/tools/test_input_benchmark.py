"""The benchmark of the input pipeline runs and reports its measurement."""

import shutil

from tests.training.workspace import write_params
from training.figures import read_figures
from training.manifest import MANIFEST
from training.tools import input_benchmark as benchmark
from training.tools.input_benchmark import relative_speed
from training.tools.results_page import render_input


def test_input_benchmark_measures_both_sources(trained, project, monkeypatch):
    """Each round measures both sources, and the page has the share of the speed."""
    write_params(project, train__architecture="logistic")
    shutil.copytree(trained / "data", project / "data", symlinks=True)
    MANIFEST.parent.mkdir()
    shutil.copy(trained / MANIFEST, MANIFEST)
    monkeypatch.setattr("sys.argv", ["benchmark", "--steps", "2", "--rounds", "3"])
    benchmark.main()
    figures = read_figures("input")
    assert [3, 3] == [len(figures["images_per_second"][kind]) for kind in ("photos", "memory")]
    assert f"**{100 * figures['share']:.0f} %** of that speed" in render_input(figures)


def test_relative_speed_compares_within_a_round():
    """A round that was slowed down by other load slowed both sources, and counts like the others."""
    assert 0.9 == relative_speed({"photos": [90, 9, 95], "memory": [100, 10, 100]})
