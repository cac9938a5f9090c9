"""Test feedback: its response, errors, content types and counters."""

import json

import pytest

from tests.support.uploads import assert_error

JSON = {"content-type": "application/json"}
FEEDBACK = {"request_id": "abcdef11-2222-3333-4444-555555555555", "label": "dog"}
BODY = json.dumps(FEEDBACK).encode()


def test_feedback_response_repeats_id_and_label(client):
    """The response has the normalized id, the label and the model; repeating the feedback changes nothing."""
    expected = FEEDBACK | {"model_version": "2026.01.01-tiny"}
    given = FEEDBACK | {"request_id": FEEDBACK["request_id"].upper()}
    answers = [client.post("/feedback", json=given) for _ in range(2)]
    assert [(200, expected)] * 2 == [(answer.status_code, answer.json()) for answer in answers]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'{"request_id": "7", "label": "dog"}', "request_id: Input should be a valid UUID"),
        (json.dumps(FEEDBACK | {"label": "sofa"}).encode(), "label is 'sofa'; expected one of cat, dog"),
        (json.dumps(FEEDBACK | {"label": 1}).encode(), "label: Input should be a valid string"),
        (b'{"label": "dog"}', "request_id: Field required"),
        (b"", "Invalid JSON"),
        (b"[]", "Input should be an object"),
        (b"\xff", "Invalid JSON"),
    ],
)
def test_invalid_feedback_is_422(client, body, message):
    """The error names the field or the value, and what was expected."""
    assert_error(client.post("/feedback", content=body, headers=JSON), 422, "bad_field", message)


def test_feedback_about_own_predictions_counts(client, encode):
    """`feedback_total` counts feedback whose id this instance gave, alone or in a batch."""
    photos = [("file", ("x.jpg", encode("red")))] * 2
    for answer in client.post("/predict/batch", files=photos).json():
        client.post("/feedback", json={"request_id": answer["request_id"], "label": "dog"})
    lines = client.get("/metrics").text.splitlines()
    assert 'feedback_total{label="dog"} 2.0' in lines
    assert not [line for line in lines if line.startswith("feedback_unmatched_total{")]


def test_feedback_about_other_predictions_is_counted_apart(client):
    """Feedback with an unknown id is accepted, and counted in `feedback_unmatched_total`."""
    for _ in range(3):
        assert 200 == client.post("/feedback", content=BODY, headers=JSON).status_code
    lines = client.get("/metrics").text.splitlines()
    assert 'feedback_unmatched_total{label="dog"} 3.0' in lines
    assert not [line for line in lines if line.startswith("feedback_total{")]


@pytest.mark.parametrize(
    "content_type",
    ["text/plain", "application/x-www-form-urlencoded", "application/ld+json", ""],
)
def test_feedback_is_json_alone(client, content_type):
    """Other types are refused: pages of other sites can send them without a preflight request."""
    answer = client.post("/feedback", content=BODY, headers={"content-type": content_type})
    expected = f"content type is {content_type!r}; expected application/json"
    assert_error(answer, 415, "unsupported_media_type", expected)


def test_feedback_without_a_content_type_is_refused(client):
    """Feedback without a content type is 415: browsers send a Blob this way, without a preflight request."""
    assert 415 == client.post("/feedback", content=b"{}").status_code


@pytest.mark.parametrize("content_type", ["application/json; charset=utf-8", "Application/JSON"])
def test_feedback_may_name_its_charset(client, content_type):
    """Parameters and case of the content type do not matter."""
    assert 200 == client.post("/feedback", content=BODY, headers={"content-type": content_type}).status_code


def test_long_feedback_is_too_large(client):
    """A body over 10,000 bytes is refused with 413."""
    answer = client.post("/feedback", content=b" " * 10_001, headers=JSON)
    assert_error(answer, 413, "too_large", "at most 10000")
