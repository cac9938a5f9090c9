"""Test in Chromium that the page shares photos only with the switch on, and without EXIF data."""

import io

import pytest
from PIL import ExifTags, Image
from playwright.sync_api import Page, expect

from tests.browser.page_actions import CAT, big, choose, expect_verdict, look, upload
from tests.support import ROOT
from tests.support.drawing import encode_image

pytestmark = [pytest.mark.browser, pytest.mark.rie]
SWITCH = "Share photos with my feedback to improve the model"


@pytest.fixture(scope="module")
def function(contributing):
    return contributing


@pytest.fixture(autouse=True)
def _empty_bucket(function):
    function.empty()


def switch(page: Page):
    return page.get_by_role("switch", name=SWITCH)


def answer(page: Page, text: str) -> None:
    page.get_by_role("group", name="Was this right?").get_by_role("button", name=text).click()


def expect_thanks(page: Page, text: str) -> None:
    expect(page.locator(".truth span").last).to_have_text(text)


def test_switch_is_off_and_remembered_for_the_visit(visit, function):
    """Feedback shares no photo while the switch is off. Once on, it stays on until the page is loaded again."""
    page = visit()
    expect(page.locator(".lead")).to_contain_text("no photo is kept unless you share it")
    choose(page, CAT)
    expect_verdict(page, "Cat")
    expect(switch(page)).not_to_be_checked()
    answer(page, "Yes, cat")
    expect_thanks(page, "Thank you.")
    assert [] == function.list_keys()
    switch(page).check()
    expect_thanks(page, "Thank you. The photo was shared.")  # the answer was given before
    assert 1 == len(function.list_keys())
    choose(page, upload("other.jpg", encode_image(Image.open(CAT).transpose(Image.Transpose.FLIP_LEFT_RIGHT))))
    expect(page.locator("#status")).to_contain_text("other.jpg: Cat")
    expect(switch(page)).to_be_checked()
    answer(page, "No, dog")
    expect_thanks(page, "Thank you. The photo was shared.")
    assert ["cat", "dog"] == sorted(key.split("/")[2] for key in function.list_keys())
    switch(page).uncheck()
    page.reload()
    choose(page, CAT)
    expect_verdict(page, "Cat")
    expect(switch(page)).not_to_be_checked()


def test_shared_photo_is_shrunk_and_has_no_location(visit, function):
    """The stored photo has 512 pixels on its short side; neither it nor the request has EXIF data."""
    exif = Image.Exif()
    exif[ExifTags.Base.ImageDescription] = "s3cret"
    exif.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSLatitude] = (48.0, 12.0, 0.0)
    page, sent = visit(), []
    page.route("**/feedback", lambda route: sent.append(route.request.post_data_buffer) or route.continue_())
    choose(page, upload("big.jpg", encode_image(Image.open(io.BytesIO(big(Image.open(CAT)))), quality=90, exif=exif)))
    expect(page.locator("#status")).to_contain_text("big.jpg: Cat")
    switch(page).check()
    answer(page, "Yes, cat")
    expect_thanks(page, "Thank you. The photo was shared.")
    [body] = sent
    assert b"s3cret" not in body
    assert len(body) < 310_000
    [(metadata, photo)] = function.read_objects()
    [request_id] = page.evaluate("items.map((item) => item.answer.request_id)")
    assert (request_id, "cat") == (metadata["request-id"], metadata["prediction"])
    image = Image.open(io.BytesIO(photo))
    assert (512, {}) == (min(image.size), dict(image.getexif()))


def test_photo_with_exif_data_is_not_shared(visit, function):
    """If the browser cannot redraw a file, which would keep its EXIF data, the page sends the feedback without it."""
    page, data = visit(), (ROOT / "tests/data/cat.heic").read_bytes()
    choose(page, CAT)
    expect_verdict(page, "Cat")
    switch(page).check()
    choose(page, upload("cat.heic", data, "image/heic"))
    expect(page.locator("#status")).to_contain_text("cat.heic: Cat")
    expect(page.locator(".share")).to_have_text("This photo cannot be shared: the browser cannot strip its EXIF data.")
    answer(page, "Yes, cat")
    expect_thanks(page, "Thank you.")
    assert [] == function.list_keys()


def test_feedback_of_rejected_photo_is_sent_without_it(visit, function):
    """If the server rejects the photo, the page sends only the label, and states that the photo was not shared.

    The rejection is simulated, because reaching the quota would take a hundred photos.
    """
    page = visit()
    refusal = '{"error": {"code": "too_many_contributions", "message": "", "request_id": "r"}}'
    page.route(
        "**/feedback",
        lambda route: (
            route.fulfill(status=429, body=refusal)
            if "multipart" in route.request.headers["content-type"]
            else route.continue_()
        ),
    )
    choose(page, CAT)
    expect_verdict(page, "Cat")
    switch(page).check()
    answer(page, "No, dog")
    expect_thanks(
        page,
        "Thank you. The photo was not shared. The server has received enough photos for now. Try again later.",
    )
    [request_id] = page.evaluate("items.map((item) => item.answer.request_id)")
    expected = {"message": "feedback", "feedback_for": request_id, "label": "dog"}
    line = function.runtime.log_line(lambda line: line.items() >= expected.items())
    assert line
    assert "contribution" not in line


def test_page_does_not_deny_sharing_if_the_response_is_lost(visit, function):
    """If the connection breaks after the server stored the photo, the page states that it may have been shared."""
    page = visit()

    def lose_response(route):
        if "multipart" in route.request.headers["content-type"]:
            route.fetch()
            route.abort()
        else:
            route.continue_()

    page.route("**/feedback", lose_response)
    choose(page, CAT)
    expect_verdict(page, "Cat")
    switch(page).check()
    answer(page, "Yes, cat")
    expect_thanks(page, "Thank you. The photo may have been shared. The server cannot be reached.")
    assert 1 == len(function.list_keys())


def test_switch_works_by_keyboard_and_is_accessible(visit, function):
    """The space bar turns the switch on, and axe finds no problem on a phone and on a desktop."""
    page = visit()
    choose(page, CAT)
    expect_verdict(page, "Cat")
    switch(page).focus()
    page.keyboard.press("Space")
    expect(switch(page)).to_be_checked()
    look(page, "sharing")
