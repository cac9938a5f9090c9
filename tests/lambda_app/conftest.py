"""Provide a server and a photo for tests with real clients and with recorded requests."""

import pytest


@pytest.fixture(scope="module")
def photo(encode):
    return encode("red")
