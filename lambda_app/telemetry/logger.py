"""Create the JSON logger of the function and of the batch function."""

import logging
import sys

from aws_lambda_powertools.logging import Logger

# No log line uses these values. Python 3.12 and later would even write the name of the asyncio task.
logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
logging.logAsyncioTasks = False  # type: ignore[attr-defined]  # unknown to 3.11, which mypy checks for


def create_logger(service: str, level: str) -> Logger:
    """Return a logger that writes one JSON object per line to standard output.

    Times are RFC 3339. In Lambda's JSON format, Lambda replaces the time and level of lines with other kinds of time.
    """
    return Logger(service=service, level=level, stream=sys.stdout, location=None, use_rfc3339=True)
