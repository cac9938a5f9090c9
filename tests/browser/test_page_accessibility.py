"""Test in Chromium that the page is accessible in every state and size, and works without JavaScript."""

from base64 import b64encode

import pytest
from playwright.sync_api import expect

from tests.browser.page_actions import (
    CAT,
    NEITHER,
    SCREENSHOTS,
    assert_accessible,
    choose,
    drawings,
    expect_verdict,
    look,
    upload,
)

pytestmark = [pytest.mark.browser, pytest.mark.rie]


def test_every_state_is_accessible(visit):
    """Each state is accessible on a phone, a tablet and a desktop, in light and dark mode."""
    page = visit()
    look(page, "empty")
    choose(page, CAT)
    expect_verdict(page, "Cat")
    look(page, "result")
    choose(page, NEITHER)
    expect_verdict(page, "Neither cat nor dog")
    look(page, "unknown")
    choose(page, upload("notes.jpg", b"text"))
    expect_verdict(page, "No answer")
    look(page, "error")
    passed = []  # eight of twelve; the others are held up, for as long as the pictures take
    page.route("**/predict*", lambda route: passed.append(route) or (route.continue_() if len(passed) <= 8 else None))
    choose(page, *drawings(12))
    expect(page.locator("#count")).to_have_text("8 of 12")
    look(page, "many")


def test_page_works_without_javascript(visit):
    """The form returns a page, also for errors."""
    page = visit(java_script_enabled=False)
    expect(page.locator(".scripted, .camera").locator("visible=true")).to_have_count(0)
    page.screenshot(path=SCREENSHOTS / "plain-empty.png", full_page=True)
    for photo, text in ((CAT, "Cat"), (NEITHER, "Neither cat nor dog"), (upload("x.jpg", b"text"), "No answer")):
        choose(page, photo)
        page.get_by_role("button", name="Classify it").click()
        expect_verdict(page, text)
        page.screenshot(path=SCREENSHOTS / f"plain-{text.split()[0].lower()}.png", full_page=True)


SUBMIT = """(data) => {
  const transfer = new DataTransfer();
  transfer.items.add(new File([Uint8Array.from(atob(data), (c) => c.charCodeAt(0))], "cat.jpg", {type: "image/jpeg"}));
  document.getElementById("file").files = transfer.files;
  document.forms[0].submit();
}"""


def test_page_of_the_form_is_accessible(visit):
    """axe itself needs JavaScript, so a script submits the form."""
    page = visit()
    page.evaluate(SUBMIT, b64encode(CAT.read_bytes()).decode())
    expect_verdict(page, "Cat")
    assert_accessible(page)
