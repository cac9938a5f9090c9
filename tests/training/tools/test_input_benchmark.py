"""The benchmark of the input pipeline runs, and tells what it measured."""

import json
import shutil

from tests.training.workspace import write_params
from training.prepare import MANIFEST
from training.tools import input_benchmark as benchmark
from training.tools.input_benchmark import METRICS, share
from training.tools.results_page import RESULTS


def test_benchmark(trained, project, monkeypatch):
    """Each round measures both kinds; the page tells what share of the speed is left."""
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
    assert f"**{100 * figures['share']:.0f} %** of the speed" in RESULTS.read_text()


def test_share_compares_within_a_round():
    """A round that other work slowed down slowed both, and so tells as much as any."""
    assert 0.9 == share({"photos": [90, 9, 95], "memory": [100, 10, 100]})
