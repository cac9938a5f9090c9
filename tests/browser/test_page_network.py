"""Test in Chromium how the page sends many photos, and what it does if the network or the server fails."""

from functools import partial

import pytest
from playwright.sync_api import Route, expect
from starlette.requests import Request

from infra.emulator.serve import background
from tests.browser.page_actions import CAT, choose, drawings, expect_verdict, upload

pytestmark = [pytest.mark.browser, pytest.mark.rie]
IN_FLIGHT = 4


def test_many_photos_are_sent_four_at_a_time(visit):
    """The page shows the progress and a summary, and the result of each photo on a click."""
    page, held, asked = visit(), [], []
    page.on("request", lambda request: asked.append(request) if request.method == "POST" else None)
    page.route("**/predict*", lambda route: held.append(route) if len(held) < IN_FLIGHT else route.continue_())
    with page.expect_request(lambda _: len(asked) == IN_FLIGHT):
        choose(page, *drawings(11), upload("cat.jpg", CAT.read_bytes()))
    assert IN_FLIGHT == page.evaluate("running")  # workers; each sends one request at a time
    expect(page.get_by_role("progressbar", name="Progress")).to_be_visible()
    for route in held:
        route.continue_()
    expect(page.locator("#status")).to_contain_text("Done. 11 neither cat nor dog, 1 cat.")
    assert 12 == len(asked)
    expect(page.locator("#run")).to_be_hidden()
    page.get_by_role("button", name="Cat 99").click()
    expect_verdict(page, "Cat")
    expect(page.locator("#verdict")).to_be_focused()


def test_overloaded_server_is_retried_after_its_delay(visit):
    """All photos wait for `Retry-After`, and none is lost.

    The 503 is simulated, because one page cannot overload a real server.
    """
    page, refused, accepted = visit(), [], []

    def full_at_first(route: Route) -> None:
        (refused if len(refused) < IN_FLIGHT else accepted).append(route)
        route.continue_() if accepted else route.fulfill(status=503, headers={"retry-after": "8"})

    page.route("**/predict*", full_at_first)
    page.clock.install(time=0)
    page.clock.pause_at(1000)
    choose(page, *drawings(6))
    expect(page.locator("#count")).to_contain_text("of 6, the server is busy")
    page.clock.run_for(7_000)
    expect(page.locator("#count")).to_contain_text("of 6, the server is busy")
    assert [] == accepted
    page.clock.resume()
    expect(page.locator("#status")).to_contain_text("Done. 6 neither cat nor dog.")
    assert (IN_FLIGHT, 6) == (len(refused), len(accepted))


def test_canceled_photos_can_be_retried(visit):
    """After canceling, nothing is sent, and each photo without a result has a reason.

    The network is held up, because the real one is too fast.
    """
    page, held = visit(), []
    page.evaluate("delete AbortSignal.any")  # as in browsers of 2023
    page.route(
        "**/predict*", lambda route: held.append(route) or (route.fulfill(status=502) if len(held) == 1 else None)
    )
    choose(page, *drawings(6))
    expect(page.locator("#count")).to_have_text("1 of 6")
    page.get_by_role("button", name="Try again").click()
    expect(page.locator("#count")).to_have_text("0 of 6")
    page.get_by_role("button", name="Cancel").click()
    expect(page.locator("#summary")).to_have_text("6 without an answer.")
    expect(page.locator(".sure")).to_have_text("Canceled before classification.")
    page.unroute_all(behavior="ignoreErrors")
    page.get_by_role("button", name="Try 6 photos again").click()
    expect(page.locator("#summary")).to_have_text("6 neither cat nor dog.")


def test_errors_of_the_network_are_explained(visit):
    """The page explains errors of AWS, a captive portal and a lost connection.

    They are simulated, because a test cannot cause them.
    """
    page = visit()
    with background(breaks_off) as broken:
        for message, answer in (
            ("the URL requires signed requests", {"status": 403, "body": '{"Message":"Forbidden"}'}),
            ("The server cannot be reached.", None),
            ("This photo is too large", {"status": 413, "body": '{"message":"Request Too Long"}'}),
            ("The server is busy", {"status": 429, "headers": {"retry-after": "0.01"}}),
            ("The server cannot be reached.", f"{broken}/predict"),
            ("The server failed", {"status": 502, "body": "Internal Server Error"}),
            (
                "A proxy or a login page responded instead of the server.",
                {"status": 200, "body": "<p>Log in to this network"},
            ),
        ):
            page.route("**/predict*", partial(stand_between, answer))
            choose(page, CAT)
            expect(page.locator(".sure")).to_contain_text(message)
            page.unroute("**/predict*")


async def breaks_off(scope, receive, send) -> None:
    """Close the connection after the first of two bytes."""
    if scope["type"] != "http":  # uvicorn asks whether there is anything to start
        return
    await Request(scope, receive).body()  # or the connection would be reset
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"{", "more_body": True})


def stand_between(answer: dict | str | None, route: Route) -> None:
    if isinstance(answer, dict):
        route.fulfill(**answer)
    elif answer:
        route.continue_(url=answer)
    else:
        route.abort()


def test_photos_wait_until_the_network_is_back(visit):
    """Photos are kept while the browser is offline, and sent when it is online again."""
    page = visit()
    page.context.set_offline(True)
    expect(page.locator("#offline")).to_be_visible()
    choose(page, CAT)
    expect(page.locator(".sure")).to_contain_text("You are offline.")
    page.context.set_offline(False)
    expect_verdict(page, "Cat")
    expect(page.locator("#offline")).to_be_hidden()
