"""Test the generated parts of README.md."""

from infra import documents
from infra.bench.tables import read_bench


def test_results_without_docker_have_no_image_size(monkeypatch):
    """After a benchmark without Docker, which does not measure image sizes, the table has no row for them."""
    figures = read_bench()
    candidates = {name: candidate | {"image_mb": None} for name, candidate in figures["candidates"].items()}
    assert "| container image |" in documents.results()
    monkeypatch.setattr(documents, "read_bench", lambda: figures | {"candidates": candidates})
    assert "| container image |" not in documents.results()
