"""`pytest --fast`: leaves out tests that are slow, start a program, or need one that may be missing.

A test that starts a program has the marker `process`. Without it, starting one fails the test in a fast run.
"""

import sys
from typing import Any

import pytest

SLOW_MARKERS = {"browser", "docker", "photos", "process", "rie", "slow"}
STARTS = {"os.exec", "os.fork", "os.forkpty", "os.posix_spawn", "os.spawn", "os.system", "subprocess.Popen"}
WATCHED = pytest.StashKey[bool]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--fast", action="store_true", help="only tests that take under a second and start no program")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.option.fast:
        slow = [item for item in items if SLOW_MARKERS & {marker.name for marker in item.iter_markers()}]
        config.hook.pytest_deselected(items=slow)
        items[:] = [item for item in items if item not in set(slow)]


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Install the audit hook before the first test: pytest-xdist has started its workers by then."""
    if item.config.option.fast and not item.config.stash.get(WATCHED, False):
        item.config.stash[WATCHED] = True
        sys.addaudithook(refuse_programs)


def refuse_programs(event: str, arguments: tuple[Any, ...]) -> None:
    """Fail the current test if it starts a program."""
    if event in STARTS:
        pytest.fail(f"{event} {arguments[:2]}: expected the marker `process` on a test that starts a program; add it")
