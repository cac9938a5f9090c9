"""Hardware and commit of a measurement, which each file of figures records."""

import os
import platform
import subprocess
from pathlib import Path

from infra.emulator.runtime import ROOT


def hardware(*, docker: bool) -> str:
    """Return processor, number of cores and how the candidates ran."""
    found = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    cpu = found[0].split(":")[1].strip() if found else platform.machine()
    sandbox = "containers of 1 CPU and 1 GB" if docker else f"processes on one core, Python {platform.python_version()}"
    return f"{cpu}, {os.cpu_count()} cores; {sandbox}"


def commit() -> str:
    """Return the commit of the checkout, with `-dirty` if anything but figures and documents changed since."""
    changed = _git("status", "--porcelain", "--", ":!artifacts", ":!*.md")
    return (_git("rev-parse", "--short=12", "HEAD") or "unknown") + ("-dirty" if changed else "")


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip()
