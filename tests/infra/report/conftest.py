"""The released model's own reference."""

import pytest

from infra.report.__main__ import REFERENCE
from infra.report.drift import Reference


@pytest.fixture(scope="session")
def reference() -> Reference:
    return Reference.read(REFERENCE)
