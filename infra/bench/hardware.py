"""What every file of figures says about where it comes from."""

import os
import platform
import subprocess
from pathlib import Path

from infra.local.runtime import ROOT


def hardware(*, docker: bool) -> str:
    found = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    cpu = found[0].split(":")[1].strip() if found else platform.machine()
    how = "containers of 1 CPU and 1 GB" if docker else f"processes on one core, Python {platform.python_version()}"
    return f"{cpu}, {os.cpu_count()} cores; {how}"


def commit() -> str:
    """Of the checkout; `-dirty` with changes that are not in it."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]  # tags say less
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"
