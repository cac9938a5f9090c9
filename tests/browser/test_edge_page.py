"""Tests in Chromium of the page and of `/docs` behind emulated CloudFront, which requires the hashes of bodies."""

import pytest
from playwright.sync_api import expect

from tests.support import ROOT

pytestmark = [pytest.mark.browser, pytest.mark.rie]
CAT = ROOT / "data/samples/cat.jpg"


def test_page_classifies_and_sends_feedback(visit, edge):
    """The edge accepts a photo and its feedback from the page."""
    page = visit(edge)
    page.locator("#file").set_input_files([CAT])
    expect(page.locator("#verdict")).to_have_text("Cat")
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


@pytest.mark.parametrize("kind", ["application/json", "multipart/form-data"])
def test_documentation_sends_requests(visit, edge, kind):
    """Swagger UI sends the hash of feedback as JSON and of a photo in a form."""
    page = visit(edge)
    page.goto(f"{edge}/docs")
    path = "/feedback" if kind == "application/json" else "/predict"
    block = page.locator(".opblock-post", has=page.locator(f'[data-path="{path}"]'))
    block.locator(".opblock-summary-control").click()
    block.get_by_role("button", name="Try it out").click()
    if path == "/predict":
        block.get_by_label("Request content type").select_option(kind)
        block.locator("input[type=file]").set_input_files(CAT)
    with page.expect_response(lambda answer: answer.url.endswith(path)) as answer:
        block.get_by_role("button", name="Execute").click()
    assert (200, "x-amz-content-sha256" in answer.value.request.headers) == (answer.value.status, True)
