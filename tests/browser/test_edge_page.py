"""Test the page in Chromium behind emulated CloudFront, which requires the hashes of bodies."""

import pytest
from playwright.sync_api import expect

from tests.browser.page_actions import CAT, choose, expect_verdict

pytestmark = [pytest.mark.browser, pytest.mark.rie]


def test_page_classifies_and_sends_feedback(visit, edge):
    """The edge accepts a photo and its feedback from the page."""
    page = visit(edge)
    choose(page, CAT)
    expect_verdict(page, "Cat")
    page.get_by_role("button", name="Yes, cat").click()
    expect(page.locator("#status")).to_have_text("Thank you.")


def test_page_hashes_form(visit, edge):
    """The page sends a form with the hash of its bytes."""
    page = visit(edge)
    script = """async () => {
      const form = new FormData();
      form.append("file", new File([await (await fetch("docs/swagger-ui.css")).arrayBuffer()], "photo.jpg"));
      return (await post("predict", form)).status;
    }"""
    assert 415 == page.evaluate(script)  # from the function, for a file that is not a photo; the edge would send 403
