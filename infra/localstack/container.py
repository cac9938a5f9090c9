"""Run LocalStack in a container: the published image with a token, else the last version that needs none."""

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx2

from infra import ROOT
from infra.emulator.process import CommandFailed, read_container_log, run_command, terminable

TOKEN = "LOCALSTACK_AUTH_TOKEN"  # noqa: S105 (the name of the variable, not a token)
PUBLISHED = "localstack/localstack:2026.03.0"
BUILT = "pet-classifier-localstack:4.14.0"
HERE = Path(__file__).parent
PULL_TIMEOUT_S = 300
START_TIMEOUT_S = 60  # 2 measured
# The published image runs functions in sibling containers, for which it needs the Docker socket. Its registry listens
# on one of the further ports: https://docs.localstack.cloud/aws/services/ecr/
LICENSED = (
    *("--env", TOKEN, "--volume", "/var/run/docker.sock:/var/run/docker.sock"),
    *("--publish", "127.0.0.1:4566:4566", "--publish", "127.0.0.1:4510-4559:4510-4559"),
)
TOKEN_FREE = ("--publish", "127.0.0.1::4566")
# Accept unsupported resource types; infra.localstack lists them.
TOLERANT = ("--env", "CFN_IGNORE_UNSUPPORTED_RESOURCE_TYPES=1")


class ContainerFailed(Exception):
    """LocalStack did not answer. The message ends with its log."""


@dataclass(frozen=True)
class Container:
    name: str
    endpoint: str
    version: str
    licensed: bool  # if true, it can run image functions


@contextlib.contextmanager
def localstack(*, keep: bool = False) -> Iterator[Container]:
    """Run LocalStack until the context ends; with `keep`, leave it running. Without a token it uses a free port."""
    image = _image()
    name = f"pet-classifier-localstack-{os.getpid()}"
    options = (*TOLERANT, *(LICENSED if image == PUBLISHED else TOKEN_FREE))
    with terminable():
        try:
            run_command("docker", "run", "--detach", "--name", name, *options, image)
            endpoint = f"http://{run_command('docker', 'port', name, '4566').splitlines()[0]}"
            version = _wait_for_version(endpoint, name)
            yield Container(name, endpoint, version, image == PUBLISHED)
        finally:
            if not keep:
                subprocess.run(["docker", "rm", "--force", "--volumes", name], capture_output=True, check=False)


def _image() -> str:
    if os.environ.get(TOKEN):
        try:
            run_command("docker", "pull", "--quiet", PUBLISHED, timeout_s=PULL_TIMEOUT_S)
        except CommandFailed as error:
            print(f"localstack: {str(error).splitlines()[-1]}; building the version without a token", file=sys.stderr)
        else:
            return PUBLISHED
    run_command(ROOT / "infra/image/base_image.sh")
    run_command("docker", "build", "--file", HERE / "Dockerfile", "--tag", BUILT, HERE)  # 80 s the first time, then 1 s
    return BUILT


def _wait_for_version(endpoint: str, name: str) -> str:
    """Wait until LocalStack answers, and return its version. Raise `ContainerFailed` with its log if it does not."""
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline:
        with contextlib.suppress(httpx2.TransportError):
            health = httpx2.get(f"{endpoint}/_localstack/health", trust_env=False, timeout=5)
            return str(health.raise_for_status().json()["version"])
        time.sleep(0.2)
    raise ContainerFailed(f"LocalStack did not answer within {START_TIMEOUT_S} s:\n{read_container_log(name)[-3000:]}")
