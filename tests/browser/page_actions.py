"""Act on the page as a person does, and check what it shows."""

import numpy as np
from axe_playwright_python.sync_playwright import Axe
from PIL import Image
from playwright.sync_api import Page, expect

from tests.support import ROOT
from tests.support.drawing import draw, encode_image
from tests.support.photo_files import exif

CAT, NEITHER = (ROOT / "data/samples" / name for name in ("cat.jpg", "neither.jpg"))
SCREENSHOTS = ROOT / "artifacts/screenshots"
WIDTHS = {320: 640, 768: 1024, 1440: 900}
ROTATED = 6  # EXIF: turn it a quarter clockwise


def upload(name: str, data: bytes, mime_type: str = "image/jpeg") -> dict:
    return {"name": name, "mimeType": mime_type, "buffer": data}


def drawings(count: int) -> list[dict]:
    return [upload(f"{seed}.jpg", encode_image(draw("cat", seed, 128))) for seed in range(count)]


def choose(page: Page, *photos) -> None:
    page.locator("#file").set_input_files(list(photos))


def expect_verdict(page: Page, text: str) -> None:
    expect(page.locator("#verdict")).to_have_text(text)


def big(photo: Image.Image) -> bytes:
    """Return a photo of 12 megapixels that is stored rotated, as phones do."""
    turned = photo.convert("RGB").transpose(Image.Transpose.ROTATE_90)
    grain = np.random.default_rng(0).integers(0, 16, (4000, 3000, 1), np.uint8)
    pixels = np.asarray(turned.resize((3000, 4000))) // 8 * 7 + grain
    return encode_image(Image.fromarray(pixels), quality=90, exif=exif(ROTATED))


def look(page: Page, state: str) -> None:
    """Take a picture at each width and color scheme; check that nothing is cut off and that axe finds no problem."""
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        for width, height in WIDTHS.items():
            page.set_viewport_size({"width": width, "height": height})
            assert width == page.evaluate("document.documentElement.scrollWidth")
            page.screenshot(path=SCREENSHOTS / f"{state}-{width}-{scheme}.jpg", full_page=True, quality=85, type="jpeg")
            if width != 768:  # between what the two others show
                assert_accessible(page)


def assert_accessible(page: Page) -> None:
    found = Axe().run(page).response["violations"]
    assert [] == [(each["id"], [node["html"] for node in each["nodes"]]) for each in found]
