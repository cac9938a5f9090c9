"""A real browser, on the function of `tests.emulator`."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, expect, sync_playwright

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
# Chromium's own words for every answer from 400 on, and for none. All else, a violated policy too, is a fault.
NO_ANSWER = "Failed to load resource:"
Visit = Callable[..., Page]
PATIENCE_MS = 120_000
expect.set_options(timeout=PATIENCE_MS)  # of the five seconds that it would wait


@contextmanager
def started_chromium() -> Iterator[Browser]:
    if not CHROMIUM:
        pytest.skip("chromium is not on PATH")
    with sync_playwright() as playwright:
        # As root, as in a container, Chromium has no sandbox.
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """Of a module, not of the session: Playwright occupies its thread's event loop, which later tests want."""
    with started_chromium() as browser:
        yield browser


@pytest.fixture
def visit(chromium: Browser, function: Any) -> Iterator[Visit]:
    """Opens the page, as a visitor with these options; afterwards nothing may have gone wrong, or to another site."""
    faults: list[str] = []

    def judge(message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"} and not message.text.startswith(NO_ANSWER):
            faults.append(message.text)

    with ExitStack() as contexts:

        def open_page(url: str = function.url, **options: Any) -> Page:
            context = chromium.new_context(**{"reduced_motion": "reduce"} | options)
            contexts.callback(context.close)
            page = context.new_page()
            page.set_default_timeout(PATIENCE_MS)
            page.on("console", judge)
            page.on("pageerror", lambda error: faults.append(str(error)))
            page.on("request", lambda asked: asked.url.startswith((url, "blob:", "data:")) or faults.append(asked.url))
            page.goto(url)
            return page

        yield open_page
    assert [] == faults
