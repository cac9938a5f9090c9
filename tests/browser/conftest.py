"""A real browser, on the function behind its URL in Lambda's own runtime."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, sync_playwright

from infra.local.runtime import Runtime, RuntimeNotFound, find_rie, lambda_runtime
from infra.local.serve import background, local_app

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
# Chromium's own words for every answer from 400 on, and for none. All else, a violated policy too, is a fault.
NO_ANSWER = "Failed to load resource:"
Visit = Callable[..., Page]


@dataclass(frozen=True)
class Function:
    url: str
    runtime: Runtime


@contextmanager
def started_function() -> Iterator[Function]:
    try:
        find_rie()
    except RuntimeNotFound as error:
        pytest.skip(str(error))
    with lambda_runtime() as runtime, background(local_app(runtime.endpoint)) as url:
        yield Function(url, runtime)


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
def function() -> Iterator[Function]:
    with started_function() as function:
        yield function


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """Of a module, not of the session: Playwright occupies its thread's event loop, which later tests want."""
    with started_chromium() as browser:
        yield browser


@pytest.fixture
def visit(chromium: Browser, function: Function) -> Iterator[Visit]:
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
            page.set_default_timeout(10_000)
            page.on("console", judge)
            page.on("pageerror", lambda error: faults.append(str(error)))
            page.on("request", lambda asked: asked.url.startswith((url, "blob:", "data:")) or faults.append(asked.url))
            page.goto(url)
            return page

        yield open_page
    assert [] == faults
