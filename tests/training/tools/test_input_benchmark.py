"""The benchmark of the input pipeline runs and reports its measurement."""

import json
import shutil

from tests.training.workspace import write_params
from training.prepare import MANIFEST
from training.tools import input_benchmark as benchmark
from training.tools.input_benchmark import METRICS, relative_speed
from training.tools.results_page import RESULTS


def test_input_benchmark_measures_both_sources(trained, project, monkeypatch):
    """Each round measures both sources, and the page has the share of the speed."""
    write_params(project, train__architecture="logistic")
    shutil.copytree(trained / "data", project / "data", symlinks=True)
    for path in (MANIFEST, RESULTS):
        (project / path).parent.mkdir()
    shutil.copy(trained / MANIFEST, MANIFEST)
    RESULTS.write_text("<!-- input -->\n<!-- /input -->\n")
    monkeypatch.setattr("sys.argv", ["benchmark", "--steps", "2", "--rounds", "3"])
    benchmark.main()
    figures = json.loads(METRICS.read_text())
    assert [3, 3] == [len(figures["images_per_second"][kind]) for kind in ("photos", "memory")]
    assert f"**{100 * figures['share']:.0f} %** of that speed" in RESULTS.read_text()


def test_relative_speed_compares_within_a_round():
    """A round that was slowed down by other load slowed both sources, and counts like the others."""
    assert 0.9 == relative_speed({"photos": [90, 9, 95], "memory": [100, 10, 100]})
