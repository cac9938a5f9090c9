"""Provide the app with the tiny model, and labeled photos."""

from pathlib import Path

import pytest
from starlette.types import ASGIApp

from lambda_app.app import create_app
from lambda_app.settings import Settings
from tests.infra.replay.replay_commands import MAX_BYTES, write_photo


@pytest.fixture(scope="module")
def app(tiny_classifier) -> ASGIApp:
    return create_app(tiny_classifier, Settings(max_image_bytes=MAX_BYTES, log_level="ERROR"))


@pytest.fixture
def photos(tmp_path: Path, encode) -> Path:
    """Create photos of three cats, two dogs, and a dog that the tiny model classifies as a cat."""
    folder = tmp_path / "photos"
    for name, color in [("Cat/1", "red"), ("Cat/2", "#e00000"), ("Cat/3", "#d00000"), ("dog/1", "blue")]:
        write_photo(folder / f"{name}.jpg", encode(color))
    write_photo(folder / "dog/2.PNG", encode("#0000e0", image_format="PNG"))
    write_photo(folder / "dog/3.jpg", encode("#c00000"))
    return folder
