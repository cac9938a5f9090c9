"""`make screenshot`: take .github/page.png, the picture of the page in README.md, with Chromium.

The page comes from the function in Lambda's own runtime behind the function URL, as `make run` serves it. It classifies
the bundled photos.
"""

import sys

from playwright.sync_api import expect

from infra.emulator.runtime import lambda_runtime
from infra.emulator.serve import background, local_app
from tests.support import ROOT
from tests.support.chromium import CHROMIUM, TIMEOUT_MS, started_chromium

VERDICTS = {"neither": "Neither cat nor dog", "cat": "Cat"}  # of each sample photo; the picture shows the last one
PICTURE = ROOT / ".github/page.png"


def main() -> None:
    if not CHROMIUM:
        sys.exit("chromium is not on PATH; expected Debian's chromium or Google Chrome: run `make system`")
    with lambda_runtime() as runtime, background(local_app(runtime)) as url, started_chromium() as browser:
        page = browser.new_page(viewport={"width": 1000, "height": 1000}, reduced_motion="reduce")
        page.set_default_timeout(TIMEOUT_MS)
        page.goto(url)
        for name, verdict in VERDICTS.items():
            page.locator("#file").set_input_files(ROOT / f"data/samples/{name}.jpg")
            expect(page.locator("#verdict")).to_have_text(verdict)
        page.screenshot(path=PICTURE)
    print(PICTURE.relative_to(ROOT))


if __name__ == "__main__":
    main()
