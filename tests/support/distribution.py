"""Assign tests to pytest-xdist's workers: tests that share an expensive fixture to one worker, the longest tests first.

`--dist loadgroup` of pytest-xdist 3.8 would group tests, but it does not recognize its groups under pytest 9.2.
"""

from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler.loadscope import LoadScopeScheduling

TESTS = Path(__file__).parents[1]
# The fixtures of each folder train several models, 40 s of CPU time: one worker runs all of its tests.
SINGLE_WORKER_FOLDERS = ("training", "export")
# The groups that take longest, in descending order. All other files follow in the random order of pytest-randomly.
LONGEST = (
    "training",
    "export",
    "test_pipeline.py",
    "test_photos.py",
    "browser/test_page.py",
    "browser/test_page_accessibility.py",
    "infra/report/test_report.py",
)


class GroupScheduling(LoadScopeScheduling):
    """Give a worker one group at a time. `--no-loadscope-reorder` keeps the groups in the order of collection."""

    def _split_scope(self, nodeid: str) -> str:
        return group(nodeid)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> GroupScheduling:
    return GroupScheduling(config, log)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> Generator[None, None, None]:
    """Put the longest groups first. Code after `yield` runs after all other hooks, and so after the shuffle."""
    yield
    if hasattr(config, "workerinput"):  # only pytest-xdist's workers have this attribute
        items.sort(
            key=lambda item: LONGEST.index(group(item.nodeid)) if group(item.nodeid) in LONGEST else len(LONGEST)
        )


def group(nodeid: str) -> str:
    """Return the folder if its tests belong together, and otherwise the file, relative to tests/."""
    path = nodeid.split("::", maxsplit=1)[0].removeprefix(f"{TESTS.name}/")
    folder = path.split("/")[0]
    return folder if folder in SINGLE_WORKER_FOLDERS else path
