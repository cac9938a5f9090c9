"""Test the content types of feedback and its counters."""

import pytest

JSON = {"content-type": "application/json"}
BODY = b'{"request_id": "abcdef11-2222-3333-4444-555555555555", "label": "dog"}'


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
    error = answer.json()["error"]
    assert (415, "unsupported_media_type") == (answer.status_code, error["code"])
    assert f"content type is {content_type!r}; expected application/json" in error["message"]


def test_feedback_without_a_content_type_is_refused(client):
    """A browser sends a Blob without a type in this way, without a preflight request."""
    assert 415 == client.post("/feedback", content=b"{}").status_code


@pytest.mark.parametrize("content_type", ["application/json; charset=utf-8", "Application/JSON"])
def test_feedback_may_name_its_charset(client, content_type):
    """Parameters and case of the content type do not matter."""
    assert 200 == client.post("/feedback", content=BODY, headers={"content-type": content_type}).status_code


def test_long_feedback_is_too_large(client):
    """A body over 10,000 bytes is refused with 413."""
    answer = client.post("/feedback", content=b" " * 10_001, headers=JSON)
    assert (413, "too_large") == (answer.status_code, answer.json()["error"]["code"])
    assert "at most 10000" in answer.json()["error"]["message"]
