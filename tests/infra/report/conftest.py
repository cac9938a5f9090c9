"""Provide the command, a week of traffic, and the reference of the released model."""

import json
from pathlib import Path

import pytest

from infra.report import benchmark, html_page
from infra.report.__main__ import REFERENCE, main
from infra.report.reference import Reference


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave out the tests that import PyTorch in a fast run, because `make check` does not install it."""
    is_hidden = config.option.fast and collection_path.name == "test_drift_on_photos.py"
    return True if is_hidden else None


@pytest.fixture(scope="session")
def reference() -> Reference:
    return Reference.read(REFERENCE)


render_page = html_page.render_page


@pytest.fixture
def run(tmp_path, store, monkeypatch):
    """Return a function that runs the report on lines and returns the exit code and report.json, if there is one.

    Without `page`, report.html stays empty, because its charts take longer than everything else.
    """
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    monkeypatch.setattr("infra.report.__main__.BASELINE", tmp_path / "none.json")  # without the baseline of a user
    monkeypatch.chdir(tmp_path)

    def run(lines, *options, page=False):
        (tmp_path / "log.jsonl").write_text("".join(f"{line}\n" for line in lines))
        monkeypatch.setattr("infra.report.html_page.render_page", render_page if page else lambda *_: "")
        code = main([str(tmp_path / "log.jsonl"), "--out", str(tmp_path / "out"), *options])
        written = tmp_path / "out/report.json"
        return code, json.loads(written.read_text()) if written.exists() else None

    return run


@pytest.fixture(scope="session")
def good():
    """Return the lines of a week like the reference, with labels."""
    return [json.dumps(line) for line in benchmark.generate_traffic(12_000)]
