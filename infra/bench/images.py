"""Stage the files of the candidates and build their images. Builds are cached; an unchanged peer takes a second."""

import os
import re
import shutil
import sys
from pathlib import Path

from infra import ROOT
from infra.bench.candidates import FUNCTION_IMAGE, PEERS, WEIGHTS, Candidate
from infra.emulator.process import run_command

PINS = ROOT / "requirements-train.txt"
LOAD = "pet-classifier-bench:load"


def stage(candidate: Candidate) -> None:
    """Copy the files of a candidate into its task folder. Raise `FileNotFoundError` if a source is missing."""
    shutil.rmtree(candidate.task, ignore_errors=True)
    candidate.task.mkdir(parents=True)
    for destination, source in candidate.files.items():
        target = candidate.task / destination
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__", "*.onnx"))
        else:
            shutil.copyfile(source, target)
    run_command("chmod", "-R", "a+rX", candidate.task)  # with a private umask, the function's user could not read them


def make_weights() -> None:
    """Make the model files of the peers, in 20 s."""
    WEIGHTS.mkdir(parents=True, exist_ok=True)
    run_command(sys.executable, "-m", "infra.bench.peers.weights", WEIGHTS)


def build(candidate: Candidate) -> None:
    """Build the image of a candidate, and the bytecode of mounted files."""
    if candidate.image != FUNCTION_IMAGE:
        build_peer(candidate)
        return
    run_command("make", "--no-print-directory", "image")
    if candidate.files:
        compile_task(candidate)


def compile_task(candidate: Candidate) -> None:
    """Compile files that are mounted into the image of this function, with the Python of the image."""
    mounted = ("--volume", f"{candidate.task}:/peer", "--user", f"{os.getuid()}:{os.getgid()}")
    compiler = ("-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash", "/peer")
    run_command("docker", "run", "--rm", *mounted, "--entrypoint", "/usr/bin/python3", FUNCTION_IMAGE, *compiler)


def build_peer(candidate: Candidate) -> None:
    context = candidate.task.parent
    (context / "requirements.txt").write_text(pin_requirements(candidate))
    options = () if candidate.bytecode else ("--build-arg", "INSTALL_OPTIONS=")
    _docker_build(candidate.image, PEERS / "Dockerfile", context, *options)


def pin_requirements(candidate: Candidate) -> str:
    """Return the requirements of a peer, pinned to the versions that this function uses.

    Packages that only the peer uses are pinned in its own file.
    """
    assert candidate.requirements  # every peer has requirements
    pins = dict(re.findall(r"^([a-z0-9-]+)(==.*)$", PINS.read_text(), re.MULTILINE))
    names = candidate.requirements.read_text().split()
    return "".join(f"{name}{pins.get(name, '')}\n" for name in names)


def build_load() -> None:
    """Build the image of the load generator."""
    _docker_build(LOAD, PEERS / "load/Dockerfile", PEERS / "load")


def unpacked_mb(image: str) -> float:
    """Return the size of an image on disk."""
    return round(int(run_command("docker", "image", "inspect", "--format", "{{.Size}}", image)) / 1e6, 1)


def compressed_mb(image: str) -> float:
    """Return the size of the compressed layers, which a registry stores and Lambda fetches."""
    return round(int(run_command("bash", "-o", "pipefail", "-c", f"docker save {image} | gzip | wc -c")) / 1e6, 1)


def _docker_build(tag: str, dockerfile: Path, context: Path, *options: str) -> None:
    run_command("docker", "build", "--quiet", "--file", dockerfile, "--tag", tag, *options, context)
