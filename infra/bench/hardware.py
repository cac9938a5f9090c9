"""Describe the hardware and the commit of a measurement, run programs on one core, and read their memory."""

import json
import os
import platform
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from infra import ROOT


def identify(*, docker: bool = False) -> dict[str, str]:
    """Return hardware and commit of a measurement, for its file of figures."""
    return {"hardware": describe_hardware(docker=docker), "commit": describe_commit()}


def cite(figures: Mapping[str, Any]) -> str:
    """Return the end of a sentence with the hardware and the commit of the figures."""
    return f"on {figures['hardware']}; commit `{figures['commit']}`."


def describe_hardware(*, docker: bool) -> str:
    """Return the processor, the number of cores, and how the candidates ran.

    An x86 processor is described with or without VNNI, its instructions for int8 networks.
    `training.tools.results_page` also describes the processor: neither package may import the other.
    """
    cpuinfo = Path("/proc/cpuinfo").read_text()
    found = [line for line in cpuinfo.splitlines() if line.startswith("model name")]
    vnni = "with VNNI" if "_vnni" in cpuinfo else "without VNNI"
    cpu = f"{found[0].split(':')[1].strip()} {vnni}" if found else platform.machine()
    sandbox = "containers of 1 CPU and 1 GB" if docker else f"processes on one core, Python {platform.python_version()}"
    return f"{cpu}, {os.cpu_count()} cores; {sandbox}"


def describe_commit() -> str:
    """Return the commit of the checkout, with `-dirty` if anything but figures and documents changed since."""
    changed = _git("status", "--porcelain", "--", ":!artifacts", ":!*.md")
    return (_git("rev-parse", "--short=12", "HEAD") or "unknown") + ("-dirty" if changed else "")


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip()


def last_core() -> str:
    """Return the number of the last core that this process may use."""
    return str(max(os.sched_getaffinity(0)))


def read_peak_mb(pid: int | str) -> float:
    """Return the peak resident memory of a process in MB, since its start or the last reset (proc(5))."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024 / 1e6


def run_pinned(program: Path, *arguments: str, env: dict[str, str] | None = None, stdin: bytes = b"") -> Any:
    """Run a Python program on the last core, and return the JSON of its last line.

    Raise `CalledProcessError` if the program fails.
    """
    done = subprocess.run(
        ["taskset", "--cpu-list", last_core(), sys.executable, program, *arguments],
        cwd=ROOT,
        input=stdin,
        env=os.environ | {"PYTHONPATH": str(ROOT)} | (env or {}),
        stdout=subprocess.PIPE,
        check=True,
    )
    return json.loads(done.stdout.splitlines()[-1])
