"""Test Swagger UI at `/docs` in Chromium, in front of the function and behind emulated CloudFront."""

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.page_actions import CAT, SCREENSHOTS
from tests.support.routes import ROUTES

pytestmark = [pytest.mark.browser, pytest.mark.rie]


def try_out(page: Page, path: str) -> Locator:
    """Prepare a request with the button "Try it out", for `/predict` a form with a photo, and return its block."""
    block = page.locator(".opblock-post", has=page.locator(f'[data-path="{path}"]'))
    block.locator(".opblock-summary-control").click()
    block.get_by_role("button", name="Try it out").click()
    if path == "/predict":
        block.get_by_label("Request content type").select_option("multipart/form-data")
        block.locator("input[type=file]").set_input_files(CAT)
    return block


def test_docs_list_every_route(visit, function):
    """Swagger UI shows every route, on a phone and on a desk, and loads nothing from other sites."""
    page = visit()
    page.goto(f"{function.url}/docs")
    for width in (320, 1440):
        page.set_viewport_size({"width": width, "height": 900})
        expect(page.locator(".opblock")).to_have_count(len(ROUTES))
    shown = zip(page.locator(".opblock-summary-method").all(), page.locator(".opblock-summary-path").all(), strict=True)
    listed = {f"{method.inner_text()} {path.get_attribute('data-path')}" for method, path in shown}
    assert set(ROUTES) == listed


def test_docs_send_requests(visit, function):
    """The button "Try it out" classifies a photo under the page's own security policy."""
    page = visit()
    page.goto(f"{function.url}/docs")
    block = try_out(page, "/predict")
    block.get_by_role("button", name="Execute").click()
    expect(block.locator(".live-responses-table tbody .response-col_status").first).to_contain_text("200")
    expect(block.locator(".live-responses-table")).to_contain_text('"predicted_class": "cat"')
    page.screenshot(path=SCREENSHOTS / "docs.png", full_page=True)


@pytest.mark.parametrize("path", ["/feedback", "/predict"])
def test_docs_send_hash(visit, edge, path):
    """Swagger UI sends the hash of feedback as JSON and of a photo in a form."""
    page = visit(edge)
    page.goto(f"{edge}/docs")
    block = try_out(page, path)
    with page.expect_response(lambda answer: answer.url.endswith(path)) as answer:
        block.get_by_role("button", name="Execute").click()
    assert (200, "x-amz-content-sha256" in answer.value.request.headers) == (answer.value.status, True)
