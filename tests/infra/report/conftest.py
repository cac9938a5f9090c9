"""Fixtures for the report: the reference of the released model."""

from pathlib import Path

import pytest

from infra.report.__main__ import REFERENCE
from infra.report.drift import Reference


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave out the tests that import PyTorch in a fast run, because `make check` does not install it."""
    is_hidden = config.option.fast and collection_path.name == "test_drift_on_photos.py"
    return True if is_hidden else None


@pytest.fixture(scope="session")
def reference() -> Reference:
    return Reference.read(REFERENCE)
