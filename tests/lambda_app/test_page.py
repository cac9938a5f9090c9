"""Test the page as the function returns it; tests/browser tests it in a browser."""

import base64
import hashlib
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from lambda_app.errors import NoModel, Overloaded, RequestError
from lambda_app.outputs import Prediction
from lambda_app.web import wording as words
from lambda_app.web.page import FILE, Page
from tests.support import tiny_model

BROWSER = {"accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}


def verdict(answer):
    return re.search(r'<h2 id="verdict"[^>]*>(.*?)</h2>', answer.text)[1]


@pytest.mark.parametrize(
    ("accept", "expected"), [(BROWSER["accept"], "text/html"), ("*/*", "application/json"), ("", "application/json")]
)
def test_root_is_html_for_browsers_and_json_for_programs(client, accept, expected):
    """`GET /` is HTML if the request accepts text/html, else JSON, and has `Vary: Accept`."""
    answer = client.get("/", headers={"accept": accept})
    assert (200, expected, "accept") == (
        answer.status_code,
        answer.headers["content-type"].split(";")[0],
        answer.headers["vary"],
    )


def test_security_policy_allows_only_the_page_code(client):
    """The policy names script and style by hash; the page has no inline styles or handlers and loads nothing."""
    answer = client.get("/", headers=BROWSER)
    hashes = {
        kind: "'sha256-" + base64.b64encode(hashlib.sha256(code.encode()).digest()).decode() + "'"
        for kind, code in re.findall(r"<(script|style)>(.*?)</\1>", answer.text, re.DOTALL)
    }
    policy = dict(part.strip().split(" ", 1) for part in answer.headers["content-security-policy"].split(";"))
    assert {
        "default-src": "'none'",
        "script-src": hashes["script"],
        "style-src": hashes["style"],
        "img-src": "blob: data:",
        "connect-src": "'self'",
        "form-action": "'self'",
        "base-uri": "'none'",
        "frame-ancestors": "'none'",
    } == policy
    attributes = Attributes(answer.text).found
    assert [] == [name for name, _ in attributes if name == "style" or name.startswith("on")]
    assert {"docs", "model/info"} == {value for name, value in attributes if name in {"src", "action", "href"}} - {
        value for _, value in attributes if value and value.startswith("data:")
    }


class Attributes(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, str | None]] = []
        self.feed(text)

    def handle_starttag(self, _, attrs):
        self.found += attrs


@pytest.mark.parametrize(("color", "expected"), [("red", "Cat"), ("blue", "Dog"), ("gray", "Neither cat nor dog")])
def test_form_returns_a_page_with_the_class(client, encode, color, expected):
    """The form's response is the page with the predicted class."""
    answer = client.post("/", files={"file": ("x.jpg", encode(color))})
    assert (200, expected) == (answer.status_code, verdict(answer))


def test_photo_of_the_form_is_logged(logged, encode):
    """The log line has the fields of a prediction, and the page's route."""
    logged.client.post("/", files={"file": ("x.jpg", encode("red"))})
    line = next(line for line in logged.lines() if "_aws" not in line)
    assert ("/", "cat", 200) == (line["route"], line["predicted_class"], line["status"])


def test_error_of_the_form_is_a_page(logged):
    """The page explains the error in words; status and log line have the code."""
    answer = logged.client.post("/", files={"photo": ("x.jpg", b"text")})
    assert (400, "No answer") == (answer.status_code, verdict(answer))
    assert "No photo was sent, or the file is empty." in answer.text
    [line] = [line for line in logged.lines() if "_aws" not in line]
    assert ("no_file", 400) == (line["error_code"], line["status"])


def test_page_has_words_for_every_error():
    """The page has a text for each error code, including that of internal errors."""
    errors = {*RequestError.__subclasses__()} - {NoModel}  # of `/v2`, which the page does not call
    assert {error.code for error in errors} | {"internal_error"} <= set(words.problems(1, 1))


@pytest.mark.parametrize(
    ("names", "question", "none"),
    [
        (("cat", "dog"), "Cat or dog?", "Neither cat nor dog"),
        (("snow_leopard", "lynx", "puma"), "Snow leopard, lynx or puma?", "None of the 3 classes"),
        (tuple("abcde"), "Which of 5 classes is it?", "None of the 5 classes"),
    ],
)
def test_question_suits_any_number_of_classes(names, question, none):
    """The page lists a few classes by name, and many by their number."""
    assert (question, none) == (words.question(names), words.none_of(names))


def test_class_names_are_escaped():
    """A class name is text on the page, never markup or the end of the script."""
    names = ("</script><b>", "{{version}}")
    page = Page(replace(tiny_model.METADATA, class_names=names), 1000, 1000, contributions=False, explains=False)
    prediction = Prediction(names[0], 0, 0.9, dict.fromkeys(names, 0.5), unknown=False)
    text = page.render(page.render_result(prediction, 1)).body.decode()
    own = FILE.read_text()
    assert (own.count("</script>"), own.count("<b>")) == (text.count("</script>"), text.count("<b>"))
    assert page.texts["config"] in text
    assert "{{version}}" in page.texts["config"]


@pytest.mark.parametrize(
    ("share", "text"),
    [(1.0, "100.0 %"), (0.99996, "over 99.9 %"), (0.9995, "over 99.9 %"), (0.9984, "99.8 %"), (0.0, "0.0 %")],
)
def test_rounding_does_not_show_100_percent(share, text):
    """A probability below 1 is never shown as 100 %."""
    assert text == words.percent(share)


def test_page_of_an_overloaded_server_has_retry_after(client, cat_jpg, monkeypatch):
    """The page for a photo that waited too long has the status 503 and `Retry-After`."""

    def overloaded(_):
        raise Overloaded("the photo waited 6.0 s for a free thread")

    monkeypatch.setattr("lambda_app.admission.Turn.check", overloaded)
    answer = client.post("/", files={"file": ("cat.jpg", cat_jpg, "image/jpeg")})
    assert (503, "1", "No answer") == (answer.status_code, answer.headers["retry-after"], verdict(answer))
