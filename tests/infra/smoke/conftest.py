"""Provide the released model behind the real app."""

import pytest
from starlette.types import ASGIApp

from lambda_app.app import create_app
from lambda_app.classifier import Classifier
from lambda_app.settings import Settings


@pytest.fixture(scope="session")
def released(released_classifier: Classifier) -> ASGIApp:
    return create_app(released_classifier, Settings(log_level="ERROR"))
