"""Assign tests to pytest-xdist's workers: those that share an expensive fixture run on one, the longest start first.

pytest-xdist 3.8 has `--dist loadgroup` for the first half, but it does not see its own groups under pytest 9.2.
"""

from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler.loadscope import LoadScopeScheduling

TESTS = Path(__file__).parents[1]
# The fixtures of each folder train several models, 40 s of CPU time: one worker runs all of its tests.
TOGETHER = ("training", "export")
# What takes longest, longest first; all other files follow in the order that pytest-randomly draws.
LONGEST = (
    "training",
    "export",
    "test_pipeline.py",
    "test_photos.py",
    "browser/test_page.py",
    "infra/report/test_report.py",
)


class GroupScheduling(LoadScopeScheduling):
    """Give a worker one group at a time. `--no-loadscope-reorder` keeps them in the order of collection."""

    def _split_scope(self, nodeid: str) -> str:
        return group(nodeid)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> GroupScheduling:
    return GroupScheduling(config, log)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> Generator[None, None, None]:
    """Put the longest groups first. What follows `yield` runs after all other hooks, and so after the shuffle."""
    yield
    if hasattr(config, "workerinput"):  # as pytest-xdist marks its workers
        items.sort(
            key=lambda item: LONGEST.index(group(item.nodeid)) if group(item.nodeid) in LONGEST else len(LONGEST)
        )


def group(nodeid: str) -> str:
    """Return the folder of tests that belong together, else the file, relative to tests/."""
    path = nodeid.split("::", maxsplit=1)[0].removeprefix(f"{TESTS.name}/")
    folder = path.split("/")[0]
    return folder if folder in TOGETHER else path
