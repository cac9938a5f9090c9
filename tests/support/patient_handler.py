"""Provide the function's handler with long timeouts of S3, for a runtime in a process of its own.

Such a process does not see the patches of tests/conftest.py.
"""

from lambda_app.contributions import stores
from lambda_app.handler import handler
from tests.support.waiting import DEADLINE_S

__all__ = ["handler"]
stores.TIMEOUTS = {"connect_timeout": DEADLINE_S, "read_timeout": DEADLINE_S}
