"""Test the page's switch that highlights what determined the class, in Chromium."""

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from infra.emulator.serve import background
from lambda_app.app import create_app
from lambda_app.classifier import Classifier
from lambda_app.settings import Settings
from tests.browser.page_actions import CAT, NEITHER, SCREENSHOTS, assert_accessible, choose, expect_verdict, upload
from tests.support import ROOT, tiny_model
from tests.support.drawing import draw, encode_image

pytestmark = [pytest.mark.browser, pytest.mark.rie]
SWITCH = "Highlight what determined the class"
PIXELS = """() => {
  const canvas = document.querySelector("#photo canvas");
  const {data} = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  return [canvas.width, canvas.height, Array.from(data.filter((_, index) => index % 4 === 0))];
}"""


def read_map(page: Page) -> np.ndarray:
    """Return the brightness (height, width) of the map on the page."""
    width, height, pixels = page.evaluate(PIXELS)
    return np.array(pixels).reshape(height, width)


def test_switch_shows_the_map_by_keyboard(visit):
    """The switch is off at first; the space bar turns it on and off. Screen readers hear where the map is bright."""
    page = visit()
    choose(page, CAT)
    switch = page.get_by_role("switch", name=SWITCH)
    expect(switch).not_to_be_checked()
    expect(page.locator("#photo canvas")).to_have_count(0)
    switch.focus()
    page.keyboard.press("Space")
    expect(page.locator("#photo canvas")).to_have_count(1)
    expect(page.locator("#seen")).to_contain_text("Bright parts count toward cat, most of all the ")
    expect(page.locator("#status")).to_have_text(page.locator("#seen").inner_text())
    expect(switch).to_have_accessible_description(page.locator("#seen").inner_text())
    assert_accessible(page)
    page.screenshot(path=SCREENSHOTS / "explanation.png")
    page.keyboard.press("Space")
    expect(page.locator("#photo canvas")).to_have_count(0)
    expect(page.locator("#status")).to_have_text("The photo is shown without the map.")


def test_map_covers_what_the_network_saw(visit):
    """The map is over the central square of the photo, and the rest, which the network did not see, is black."""
    page = visit()
    page.set_viewport_size({"width": 1000, "height": 900})
    choose(page, CAT)
    page.get_by_role("switch", name=SWITCH).check()
    expect(page.locator("#photo canvas")).to_have_count(1)
    brightness = read_map(page)
    height, width = brightness.shape
    [image, canvas] = [page.locator(f"#photo {name}").bounding_box() for name in ("img", "canvas")]
    ratio = page.evaluate(
        "document.querySelector('#photo img').naturalWidth / document.querySelector('#photo img').naturalHeight"
    )
    assert image == canvas
    assert pytest.approx(ratio, rel=0.01) == width / height
    long, short = max(width, height), min(width, height)
    columns = brightness.max(axis=0 if width > height else 1)
    margin = (long - short) // 2
    assert margin > 10
    assert 0 == columns[: margin - 1].max() == columns[-margin + 1 :].max()
    assert columns[margin + 2 : -margin - 2].max() > 250


def test_map_follows_the_photo_on_display(visit):
    """With the switch on, each photo of the visit has its own map."""
    page = visit()
    choose(page, CAT, NEITHER)
    expect(page.locator("#list .waiting")).to_have_count(0)
    tiles = page.locator(".tile")
    maps = []
    for place, name in ((0, "cat.jpg"), (1, "neither.jpg")):
        tiles.nth(place).click()
        page.get_by_role("switch", name=SWITCH).check()
        expect(page.get_by_alt_text(f"Your photo, {name}")).to_be_visible()
        expect(page.locator("#photo canvas")).to_have_count(1)
        maps.append(read_map(page))
    assert maps[0].shape != maps[1].shape or (maps[0] != maps[1]).any()


def test_photo_that_the_browser_cannot_show_has_no_switch(visit):
    """A photo that is not on display has nothing to draw the map on."""
    page, data = visit(), (ROOT / "tests/data/cat.heic").read_bytes()
    choose(page, upload("cat.heic", data, "image/heic"))
    expect_verdict(page, "Cat")
    expect(page.get_by_text("cannot be shown by this browser")).to_be_visible()
    expect(page.locator("#looked")).to_be_hidden()


@pytest.fixture(scope="module")
def tiny_url(tiny_classifier):
    """Return the URL of the app with the tiny model, for which red counts toward cat."""
    with background(create_app(tiny_classifier, Settings(log_level="ERROR"))) as url:
        yield url


def test_words_name_the_brightest_part(visit, tiny_url):
    """The text for screen readers counts in ninths of the whole photo, also where the map covers a part of it."""
    picture = Image.new("RGB", (160, 96), "gray")
    picture.paste("red", (112, 72, 128, 96))  # in the square that the network sees, at its lower right
    page = visit(tiny_url)
    choose(page, upload("red.jpg", encode_image(picture)))
    page.get_by_role("switch", name=SWITCH).check()
    expect(page.locator("#seen")).to_have_text("Bright parts count toward cat, most of all the bottom right.")


def test_map_without_a_positive_part_is_not_drawn(visit, tiny_url):
    """If no part counts toward the class, the page says so and leaves the photo as it is."""
    page = visit(tiny_url)

    def flatten(route):
        answer = route.fetch().json()
        answer["explanation"]["peak"] = 0
        route.fulfill(json=answer)

    page.route("**/predict*", flatten)
    choose(page, upload("red.jpg", encode_image(Image.new("RGB", (96, 96), "red"))))
    page.get_by_role("switch", name=SWITCH).check()
    expect(page.locator("#seen")).to_have_text("No part counts toward cat.")
    expect(page.locator("#photo canvas")).to_have_count(0)


@pytest.fixture
def old_url(tmp_path):
    """Return the URL of the app with a model that was released without activation maps."""
    classifier = Classifier.load(tiny_model.write(tmp_path / "old.onnx", with_map=False))
    with background(create_app(classifier, Settings(log_level="ERROR"))) as url:
        yield url


@pytest.mark.parametrize("says_so", [True, False])
def test_page_works_with_a_model_without_map(visit, old_url, says_so):
    """Photos are classified, also if the page came from a version whose model has maps; there is no switch."""
    page = visit(old_url)
    if not says_so:
        page.evaluate("explaining = true")
    choose(page, upload("cat.jpg", encode_image(draw("cat", 0, 64))))
    expect(page.locator("#status")).to_contain_text("sure.")
    expect(page.locator("#looked")).to_be_hidden()
