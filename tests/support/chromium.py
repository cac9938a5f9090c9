"""Start Chromium."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Browser, expect, sync_playwright

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
TIMEOUT_MS = 120_000
expect.set_options(timeout=TIMEOUT_MS)  # the default is 5 s


@contextmanager
def started_chromium() -> Iterator[Browser]:
    if not CHROMIUM:
        pytest.skip("chromium is not on PATH")
    with sync_playwright() as playwright:
        # As root, as in a container, Chromium has no sandbox.
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()
