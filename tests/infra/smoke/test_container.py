"""The smoke test against the container image, locked down, and of the image by its own hook."""

from pathlib import Path

import pytest

from tests.infra.smoke.services import smoke
from tests.infra.test_image import LOCKED_DOWN, emulated, event, execute, image, sam, url

__all__ = ["emulated", "event", "image", "sam", "url"]  # fixtures
pytestmark = pytest.mark.docker


def test_the_container_passes(url: str, tmp_path: Path) -> None:
    """Every check, against the image under Lambda's runtime interface emulator."""
    assert set() == smoke(url, tmp_path).failed


def test_the_image_holds_its_hook(image: str) -> None:
    """The hook can be imported where only the serving requirements are, and finds its golden answers and photos."""
    code = """
import json
from infra.smoke.hook import handler
from infra.smoke.expected import SAMPLES, Golden
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
