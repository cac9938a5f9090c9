"""What every file of figures says about where it comes from."""

import os
import platform
import subprocess
from pathlib import Path

from infra.emulator.runtime import ROOT


def hardware(*, docker: bool) -> str:
    found = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    cpu = found[0].split(":")[1].strip() if found else platform.machine()
    how = "containers of 1 CPU and 1 GB" if docker else f"processes on one core, Python {platform.python_version()}"
    return f"{cpu}, {os.cpu_count()} cores; {how}"


def commit() -> str:
    """Of the checkout; `-dirty` where something else than the figures was changed since."""
    changed = _git("status", "--porcelain", "--", ":!artifacts", ":!README.md", ":!infra/bench/RESULTS.md")
    return (_git("rev-parse", "--short=12", "HEAD") or "unknown") + ("-dirty" if changed else "")


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip()
