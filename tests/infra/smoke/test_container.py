"""Tests of the smoke test against the container image, and of the hook inside that image."""

from pathlib import Path

import pytest

from tests.infra.smoke.faulty_services import smoke
from tests.infra.test_image import LOCKED_DOWN, emulated, event, execute, image, url

__all__ = ["emulated", "event", "image", "url"]  # fixtures
pytestmark = [pytest.mark.docker, pytest.mark.rie]


def test_container_passes_every_check(url: str, tmp_path: Path) -> None:
    """The image passes every check under Lambda's runtime interface emulator."""
    assert set() == smoke(url, tmp_path).failed


def test_image_contains_hook(image: str) -> None:
    """With the serving requirements alone, the hook imports and finds its golden answers and photos."""
    code = """
import json
from infra.smoke.hook import handler
from infra.smoke.golden import SAMPLES, Golden
print(json.dumps(sorted(name for name in Golden.read().photos if (SAMPLES / name).is_file())))
"""
    command = (
        "docker",
        "run",
        *LOCKED_DOWN,
        "--network",
        "none",
        "--entrypoint",
        "/usr/bin/python3",
        image,
        "-c",
        code,
    )
    done = execute(*command)
    assert ('["cat.jpg", "neither.jpg"]\n', "") == (done.stdout, done.stderr)
