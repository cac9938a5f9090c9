"""Which worker runs which test: tests that share an expensive fixture stay together, and the longest ones start first.

With `--dist loadgroup --no-loadscope-reorder`, pytest-xdist gives each worker one group at a time, in the order of
collection. A group that takes minutes would otherwise start last and leave the other worker idle.
"""

from collections.abc import Generator
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
# Each folder has projects that are trained once per worker: 40 s of CPU time.
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


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> Generator[None, None, None]:
    """Group the tests before pytest-xdist reads the groups, and order them after pytest-randomly has shuffled them."""
    distributed = getattr(config.option, "loadgroup", False)  # as pytest-xdist tells its workers
    if distributed:
        for item in items:
            item.add_marker(pytest.mark.xdist_group(group(item)))
    yield
    if distributed:
        items.sort(key=lambda item: LONGEST.index(group(item)) if group(item) in LONGEST else len(LONGEST))


def group(item: pytest.Item) -> str:
    """Return the folder of tests that belong together, else the file, relative to tests/."""
    path = item.path.relative_to(TESTS).as_posix()
    folder = path.split("/")[0]
    return folder if folder in TOGETHER else path
