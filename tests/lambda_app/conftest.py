"""Provide a red photo, clients, and Lambda's entry point."""

import importlib
from types import SimpleNamespace

import pytest
from starlette.testclient import TestClient

from lambda_app.app import create_app
from lambda_app.settings import Settings
from tests.lambda_app.contribution_requests import settings

CONTEXT = SimpleNamespace(aws_request_id="11111111-2222-3333-4444-555555555555")


@pytest.fixture(scope="module")
def photo(encode):
    return encode("red")


@pytest.fixture(scope="module")
def entry_point(event_loop):
    """Import the handler, which silences the loggers of some libraries."""
    return importlib.import_module("lambda_app.handler")


@pytest.fixture
def handler(entry_point):
    return entry_point.handler


@pytest.fixture(scope="module")
def long_lived_client(tiny_classifier):
    with TestClient(create_app(tiny_classifier, Settings(log_level="ERROR", max_image_pixels=1_000_000))) as client:
        yield client


@pytest.fixture
def contributing_client(tiny_classifier, tmp_path):
    """Return a client of an app that keeps contributed photos in `tmp_path`."""
    return TestClient(create_app(tiny_classifier, settings(tmp_path)))
