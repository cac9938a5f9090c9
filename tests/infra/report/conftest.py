"""Fixtures for the report: the reference of the released model."""

from importlib.util import find_spec

import pytest

from infra.report.__main__ import REFERENCE
from infra.report.drift import Reference

collect_ignore = [] if find_spec("torch") else ["test_drift_on_photos.py"]  # `make check` does not install PyTorch


@pytest.fixture(scope="session")
def reference() -> Reference:
    return Reference.read(REFERENCE)
