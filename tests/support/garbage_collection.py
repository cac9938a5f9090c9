"""Run the garbage collector less often: what pytest imports while it collects tests stays until the process ends.

To measure the effect, compare `time make check-tests` with and without this module in tests/conftest.py. It was 9 %.
"""

import gc

ALLOCATIONS = 50_000  # between two collections of the youngest objects; Python's default is 700

gc.disable()


def pytest_collection_finish() -> None:
    gc.freeze()
    gc.set_threshold(ALLOCATIONS)
    gc.enable()
