"""Stages the peers and builds their images. Everything built is kept; an unchanged peer costs a second."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from infra.bench.candidates import OURS, PEERS, WEIGHTS, Candidate
from infra.emulator.runtime import ROOT

PINS = ROOT / "requirements-train.txt"
LOAD = "pet-classifier-bench:load"


class BuildFailed(Exception):
    """An image or the weights could not be made; the message is the end of the output."""


def stage(candidate: Candidate) -> None:
    """Copy the files of its task together. Raises FileNotFoundError for a source that is not there."""
    shutil.rmtree(candidate.task, ignore_errors=True)
    candidate.task.mkdir(parents=True)
    for destination, source in candidate.files.items():
        target = candidate.task / destination
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__", "*.onnx"))
        else:
            shutil.copyfile(source, target)
    run("chmod", "-R", "a+rX", candidate.task)  # a private umask must not lock the function's user out


def weights() -> None:
    """The peers' model files, made once."""
    if not (WEIGHTS / "ort_plain.onnx").exists():  # the last one to be written
        WEIGHTS.mkdir(parents=True, exist_ok=True)
        run(sys.executable, "-m", "infra.bench.peers.weights", WEIGHTS)


def build(candidate: Candidate) -> None:
    if candidate.image != OURS:
        build_peer(candidate)
        return
    run("make", "--no-print-directory", "image")
    if candidate.files:
        compile_task(candidate)


def compile_task(candidate: Candidate) -> None:
    """Bytecode for what is mounted into our image, made by the image's own Python."""
    mounted = ("--volume", f"{candidate.task}:/peer", "--user", f"{os.getuid()}:{os.getgid()}")
    compiler = ("-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash", "/peer")
    run("docker", "run", "--rm", *mounted, "--entrypoint", "/usr/bin/python3", OURS, *compiler)


def build_peer(candidate: Candidate) -> None:
    context = candidate.task.parent
    (context / "requirements.txt").write_text(requirements(candidate))
    options = () if candidate.bytecode else ("--build-arg", "INSTALL_OPTIONS=")
    _docker_build(candidate.image, PEERS / "Dockerfile", context, *options)


def requirements(candidate: Candidate) -> str:
    """What the peer names, at the versions that we run; what only it uses carries its own."""
    assert candidate.requirements  # every peer has them
    ours = dict(re.findall(r"^([a-z0-9-]+)(==.*)$", PINS.read_text(), re.MULTILINE))
    names = candidate.requirements.read_text().split()
    return "".join(f"{name}{ours.get(name, '')}\n" for name in names)


def build_load() -> None:
    _docker_build(LOAD, PEERS / "load/Dockerfile", PEERS / "load")


def unpacked_mb(image: str) -> float:
    return round(int(run("docker", "image", "inspect", "--format", "{{.Size}}", image)) / 1e6, 1)


def compressed_mb(image: str) -> float:
    """What a registry stores and Lambda fetches: gzip of the image's layers."""
    return round(int(run("sh", "-c", f"docker save {image} | gzip | wc -c")) / 1e6, 1)


def _docker_build(tag: str, dockerfile: Path, context: Path, *options: str) -> None:
    run("docker", "build", "--quiet", "--file", dockerfile, "--tag", tag, *options, context)


def run(*command: str | Path) -> str:
    """Its output; raises BuildFailed with the end of what it said."""
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BuildFailed(f"{' '.join(map(str, command))} ended with {done.returncode}:\n{done.stderr[-3000:]}")
    return done.stdout.strip()
