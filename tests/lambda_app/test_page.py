"""The page as the function answers it; `tests/browser` has it in a browser."""

import base64
import hashlib
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from lambda_app.classifier import Prediction
from lambda_app.errors import RequestError
from lambda_app.web import wording as words
from lambda_app.web.page import FILE, Page
from tests import tiny_model

BROWSER = {"accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}


def verdict(answer):
    return re.search(r'<h2 id="verdict"[^>]*>(.*?)</h2>', answer.text)[1]


@pytest.mark.parametrize(
    ("accept", "expected"), [(BROWSER["accept"], "text/html"), ("*/*", "application/json"), ("", "application/json")]
)
def test_browsers_get_the_page_and_programs_the_information(client, accept, expected):
    """At the same address, which caches are told."""
    answer = client.get("/", headers={"accept": accept})
    assert (200, expected, "accept") == (
        answer.status_code,
        answer.headers["content-type"].split(";")[0],
        answer.headers["vary"],
    )


def test_the_policy_allows_the_pages_own_code_and_nothing_else(client):
    """By hash; no element has a style or a handler of its own, and nothing is loaded from anywhere."""
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


def test_the_page_is_light():
    """One file for all of it, less than a photo."""
    assert FILE.stat().st_size < 60_000


@pytest.mark.parametrize(("colour", "expected"), [("red", "Cat"), ("blue", "Dog"), ("grey", "Neither cat nor dog")])
def test_the_form_is_answered_with_a_page(client, encode, colour, expected):
    """With the class in it."""
    answer = client.post("/", files={"file": ("x.jpg", encode(colour))})
    assert (200, expected) == (answer.status_code, verdict(answer))


def test_a_photo_from_the_form_is_logged_like_any_other(logged, encode):
    """Under the page's own route."""
    logged.client.post("/", files={"file": ("x.jpg", encode("red"))})
    line = next(line for line in logged.lines() if "_aws" not in line)
    assert ("/", "cat", 200) == (line["route"], line["predicted_class"], line["status"])


def test_an_error_is_a_page_too(logged):
    """It says in words what is wrong; status and log line say the code."""
    answer = logged.client.post("/", files={"photo": ("x.jpg", b"text")})
    assert (400, "No answer") == (answer.status_code, verdict(answer))
    assert "No photo was sent, or the file is empty." in answer.text
    [line] = [line for line in logged.lines() if "_aws" not in line]
    assert ("no_file", 400) == (line["error_code"], line["status"])


def test_there_are_words_for_every_error():
    """And for a crash."""
    assert {error.code for error in RequestError.__subclasses__()} | {"internal_error"} <= set(words.problems(1, 1))


@pytest.mark.parametrize(
    ("names", "question", "none"),
    [
        (("cat", "dog"), "Cat or dog?", "Neither cat nor dog"),
        (("snow_leopard", "lynx", "puma"), "Snow leopard, lynx or puma?", "None of the 3 classes"),
        (tuple("abcde"), "Which of 5 is it?", "None of the 5 classes"),
    ],
)
def test_any_classes_can_be_asked_for(names, question, none):
    """A few by name, many by their number."""
    assert (question, none) == (words.question(names), words.none_of(names))


def test_a_class_may_have_any_name():
    """It is text on the page, never markup, nor the end of the script."""
    names = ("</script><b>", "{{version}}")
    page = Page(replace(tiny_model.METADATA, class_names=names), 1000, 1000)
    prediction = Prediction(0, names[0], 0.9, dict.fromkeys(names, 0.5), unknown=False)
    text = page.answer(page.result(prediction, 1)).body.decode()
    own = FILE.read_text()
    assert (own.count("</script>"), own.count("<b>")) == (text.count("</script>"), text.count("<b>"))
    assert page.words["given"] in text
    assert "{{version}}" in page.words["given"]


@pytest.mark.parametrize(
    ("share", "text"), [(1.0, "100.0 %"), (0.99996, "over 99.9 %"), (0.9984, "99.8 %"), (0.0, "0.0 %")]
)
def test_only_what_is_certain_is_called_so(share, text):
    """Rounding makes no 100 %."""
    assert text == words.percent(share)
