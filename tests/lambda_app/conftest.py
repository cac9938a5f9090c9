"""Provide a server and a photo for tests with real clients and with recorded requests."""

import pytest

from infra.emulator.serve import background
from lambda_app.app import create_app
from lambda_app.settings import Settings


@pytest.fixture(scope="module")
def url(tiny_classifier):
    with background(create_app(tiny_classifier, Settings(log_level="ERROR"))) as url:
        yield url


@pytest.fixture(scope="module")
def photo(encode):
    return encode("red")
