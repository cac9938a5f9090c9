"""Build the container image, inspect it, and run code inside it."""

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx2

import lambda_app
from tests.support import ROOT
from tests.support.commands import run
from tests.support.waiting import DEADLINE_S, wait_until

IMAGE = "pet-classifier:test"
COMMIT = "0123abc"
VERSION = lambda_app.__version__
LOCKED_DOWN = ("--rm", "--read-only", "--user", "10001", "--cap-drop", "ALL")
PYTHON = "/usr/bin/python3"


def build(tag: str, *options: str, context: Path = ROOT) -> None:
    arguments = ("--build-arg", f"COMMIT={COMMIT}", "--build-arg", f"VERSION={VERSION}", "--tag", tag)
    platform_and_file = ("--platform", "linux/amd64", "--file", context / "Dockerfile.lambda")
    run("docker", "build", *platform_and_file, *arguments, *options, context)


def layers(image: str) -> list[str]:
    """Return the digests of the image's layers."""
    found: list[str] = json.loads(run("docker", "image", "inspect", "--format", "{{json .RootFS.Layers}}", image))
    return found


def label(image: str, name: str) -> str:
    return run("docker", "image", "inspect", "--format", f'{{{{index .Config.Labels "{name}"}}}}', image).strip()


def python_in(image: str, code: str, *options: str) -> Any:
    """Return the JSON that the code prints last, in a container without network."""
    code = f"import json\nfrom pathlib import Path\n{code}"
    options = (*LOCKED_DOWN, "--network", "none", "--entrypoint", PYTHON, *options)
    return json.loads(run("docker", "run", *options, image, "-c", code).splitlines()[-1])


def post(url: str, body: bytes) -> Any:
    """Return the decoded JSON. Retry while the emulator is not ready: its port opens earlier."""

    def send() -> httpx2.Response | None:
        with suppress(httpx2.TransportError):
            return httpx2.post(url, content=body, trust_env=False, timeout=DEADLINE_S)
        return None

    return wait_until(send).raise_for_status().json()
