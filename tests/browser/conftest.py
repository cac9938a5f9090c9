"""Open pages of the function of `tests.support.emulator`."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page

from tests.support.chromium import TIMEOUT_MS, started_chromium

# Chromium logs this for each failed request and each status from 400 on. Every other message, for example about a
# violated policy, is a failure.
FAILED_REQUEST = "Failed to load resource:"
Visit = Callable[..., Page]


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """Start Chromium once per module: Playwright occupies the event loop of its thread, which later tests need."""
    with started_chromium() as browser:
        yield browser


@pytest.fixture
def visit(chromium: Browser, function: Any) -> Iterator[Visit]:
    """Return a function that opens the page in a new browser context with the given options.

    Afterwards, the test fails if the page logged an error or sent a request to another site.
    """
    faults: list[str] = []

    def collect_fault(message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"} and not message.text.startswith(FAILED_REQUEST):
            faults.append(message.text)

    with ExitStack() as contexts:

        def open_page(url: str = function.url, **options: Any) -> Page:
            context = chromium.new_context(**{"reduced_motion": "reduce"} | options)
            contexts.callback(context.close)
            page = context.new_page()
            page.set_default_timeout(TIMEOUT_MS)
            page.on("console", collect_fault)
            page.on("pageerror", lambda error: faults.append(str(error)))
            page.on("request", lambda sent: sent.url.startswith((url, "blob:", "data:")) or faults.append(sent.url))
            page.goto(url)
            return page

        yield open_page
    assert [] == faults
