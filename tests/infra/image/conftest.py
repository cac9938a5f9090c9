"""Provide the container image, and a function URL in front of it under Lambda's runtime interface emulator."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.emulator.function_url import create_app
from infra.emulator.runtime import find_rie
from infra.emulator.serve import background
from tests.infra.image.container_image import IMAGE, LOCKED_DOWN, PYTHON, build, post
from tests.support.commands import run


@pytest.fixture(scope="session")
def image() -> str:
    if name := os.environ.get("TEST_IMAGE"):
        return name
    run("infra/image/base_image.sh")
    build(IMAGE)
    return IMAGE


@pytest.fixture(scope="session")
def event(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the event of a function URL for `POST /predict` with the bundled cat."""
    path = tmp_path_factory.mktemp("event") / "event.json"
    path.write_text(run(sys.executable, "-m", "infra.emulator.event", "data/samples/cat.jpg"))
    return path


@pytest.fixture(scope="module")
def emulated(image: str) -> Iterator[str]:
    """Yield the Invoke API of the emulator, which runs the image read-only and without capabilities."""
    container = run(
        *("docker", "run", "--detach", *LOCKED_DOWN, "--publish", "127.0.0.1::8080"),
        *("--volume", f"{find_rie()}:/aws-lambda-rie:ro", "--entrypoint", "/aws-lambda-rie"),
        *(image, PYTHON, "-m", "awslambdaric", "lambda_app.handler.handler"),
    ).strip()
    try:
        address = run("docker", "port", container, "8080").strip()
        yield f"http://{address}/2015-03-31/functions/function/invocations"
    finally:
        run("docker", "rm", "--force", container)


@pytest.fixture(scope="module")
def url(emulated: str, event: Path) -> Iterator[str]:
    """Yield a function URL in front of the emulator."""
    post(emulated, event.read_bytes())  # returns once the emulator listens
    with background(create_app(emulated)) as url:
        yield url
