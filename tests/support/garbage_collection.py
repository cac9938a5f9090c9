"""Collect garbage less often. What collection imports lives as long as the process, and scanning it finds nothing.

`make check` takes 9 % less CPU time with this module.
"""

import gc

ALLOCATIONS = 50_000  # between two collections of the youngest objects; Python's default is 700

gc.disable()


def pytest_collection_finish() -> None:
    gc.freeze()
    gc.set_threshold(ALLOCATIONS)
    gc.enable()
