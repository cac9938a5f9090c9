"""Run commands in the root of the repository or in another folder."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support import ROOT
from tests.support.waiting import DEADLINE_S

# For tests that pass these: DVC and other tools send no usage data, and Git ignores the user's configuration.
ISOLATED = {"DO_NOT_TRACK": "1", "DVC_NO_ANALYTICS": "1", "GIT_CONFIG_GLOBAL": os.devnull}
GIT = ("git", "-c", "user.name=Test", "-c", "user.email=test@example.org")
# The search path with the programs of this environment first.
PROGRAMS_PATH = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
# For every command. Some tools, such as zizmor, color their output if the variable CI is set, even in a pipe.
ENVIRONMENT = {"SAM_CLI_TELEMETRY": "0", "BUILDX_NO_DEFAULT_ATTESTATIONS": "1", "NO_COLOR": "1"}


def execute(
    *command: str | Path,
    folder: Path = ROOT,
    seconds: float = DEADLINE_S,
    stdin: str | None = None,
    **environment: str,
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        check=False,
        cwd=folder,
        env=os.environ | ENVIRONMENT | environment,
        input=stdin,
        capture_output=True,
        text=True,
        timeout=seconds,
    )


def run(*command: str | Path, folder: Path = ROOT, seconds: float = DEADLINE_S, **environment: str) -> str:
    """Return the command's standard output. If the command fails, the failure shows its output."""
    done = execute(*command, folder=folder, seconds=seconds, **environment)
    assert done.returncode == 0, f"{command}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    return done.stdout


def run_refused(main: Callable[[list[str]], object], arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """Run a command in this process, check that it exits with 2, and return its last line on standard error."""
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert 2 == stopped.value.code
    return capsys.readouterr().err.splitlines()[-1]
