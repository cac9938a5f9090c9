"""Skip tests whose marker names a program that is not installed or does not run."""

import functools
import shutil
import subprocess

import pytest

from infra.emulator.runtime import RuntimeNotFound, find_rie
from tests.support.sam import SAM


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip the test before its fixtures start, because these need the program, too."""
    for marker in item.iter_markers():
        if reason := explain_missing(marker.name):
            pytest.skip(reason)


@functools.cache
def explain_missing(marker: str) -> str:
    """Return why tests with this marker cannot run, or an empty string."""
    if marker == "docker" and not is_docker_running():
        return "no Docker engine answers"
    if marker == "sam" and not SAM.exists():
        return "SAM CLI is not installed in .venv-sam"
    if marker == "rie":
        try:
            find_rie()
        except RuntimeNotFound as error:
            return str(error)
    return ""


def is_docker_running() -> bool:
    if shutil.which("docker") is None:
        return False
    return subprocess.run(["docker", "info"], capture_output=True, check=False).returncode == 0
