"""Add `pytest --fast`, which deselects tests that are slow, start a program or need one that may be missing.

A test that starts a program needs the marker `process`. Without the marker, it fails in a fast run. PyTorch cannot be
imported in a fast run, even if it is installed, because `make check` runs without it.
"""

import sys
from importlib.abc import MetaPathFinder
from typing import Any

import pytest

SLOW_MARKERS = {"browser", "docker", "photos", "process", "rie", "sam", "slow"}
STARTS = {"os.exec", "os.fork", "os.forkpty", "os.posix_spawn", "os.spawn", "os.system", "subprocess.Popen"}
HOOK_INSTALLED = pytest.StashKey[bool]()
NOT_INSTALLED = ("torch", "torchvision", "timm")  # by `make check`


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--fast", action="store_true", help="run only tests that take under a second and start no program")


class HiddenPackages(MetaPathFinder):
    """Fail the import of the packages in `NOT_INSTALLED`."""

    def find_spec(self, fullname: str, *_: object) -> None:
        if fullname in NOT_INSTALLED:
            raise ModuleNotFoundError(f"{fullname} is hidden from fast tests: `make check` does not install it")


def pytest_configure(config: pytest.Config) -> None:
    """Hide packages that may be installed, so that a fast run behaves the same on every machine."""
    if config.option.fast:
        sys.meta_path.insert(0, HiddenPackages())


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.option.fast:
        slow = [item for item in items if SLOW_MARKERS & {marker.name for marker in item.iter_markers()}]
        config.hook.pytest_deselected(items=slow)
        items[:] = [item for item in items if item not in set(slow)]


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Install the audit hook before the first test: pytest-xdist has started its workers by then."""
    if item.config.option.fast and not item.config.stash.get(HOOK_INSTALLED, False):
        item.config.stash[HOOK_INSTALLED] = True
        sys.addaudithook(refuse_programs)


def refuse_programs(event: str, arguments: tuple[Any, ...]) -> None:
    """Fail the current test if it starts a program."""
    if event in STARTS:
        pytest.fail(f"{event} {arguments[:2]}: expected the marker `process` on a test that starts a program; add it")
