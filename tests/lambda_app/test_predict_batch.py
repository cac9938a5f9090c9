"""Test several photos in one request, with the tiny model: red photos are cats, blue photos are dogs."""

from contextlib import contextmanager
from types import SimpleNamespace

import pytest
from starlette.requests import Request

from lambda_app import inference
from lambda_app.admission import Admission
from lambda_app.errors import BadField, Overloaded
from lambda_app.uploads.photo import read_photos
from tests.support import uploads
from tests.support.uploads import FORM, NAMED, assert_error, form, part

PART = part(b"x", NAMED)


def post(client, *photos):
    return client.post("/predict/batch", files=[("file", ("x.jpg", data)) for data in photos])


def without_ids(answer):
    return {name: value for name, value in answer.items() if name not in {"request_id", "processing_time_ms"}}


def test_each_photo_has_the_result_of_a_single_request(client, encode):
    """Results have the order of the files, however many photos the network runs at a time."""
    photos = [encode(color) for color in ("red", "blue", "gray", "blue", "red", "red", "blue")]
    alone = [client.post("/predict", files={"file": ("x.jpg", data)}).json() for data in photos]
    together = post(client, *photos).json()
    assert [pytest.approx(without_ids(one)["probabilities"]) for one in alone] == [
        one["probabilities"] for one in together
    ]
    names = ("predicted_class", "predicted_label", "unknown", "model_version")
    assert [[one[name] for name in names] for one in alone] == [[one[name] for name in names] for one in together]


def test_bad_photo_is_an_error_in_its_place(client, encode):
    """The other photos have predictions; the error has the id of the request."""
    answer = post(client, encode("red"), b"text", b"", encode("blue")[:-60], encode("blue"))
    body = answer.json()
    codes = [one["error"]["code"] if "error" in one else one["predicted_class"] for one in body]
    assert (200, ["cat", "unsupported_image", "no_file", "damaged_image", "dog"]) == (answer.status_code, codes)
    assert {answer.headers["x-request-id"]} == {one["error"]["request_id"] for one in body[1:4]}


def test_photos_beyond_the_decoding_budget_are_refused(client, encode, monkeypatch):
    """The first photo is classified; the rest would exceed Lambda's timeout and lose all results."""
    monkeypatch.setattr("lambda_app.inference.DECODING_S", 0)
    first, *others = post(client, *[encode("blue")] * 3).json()
    assert ("dog", ["too_large"] * 2) == (first["predicted_class"], [one["error"]["code"] for one in others])


def test_wait_for_memory_does_not_count_as_decoding(client, encode, monkeypatch):
    """If no memory is free, each photo of a batch is refused as overloaded, and none as over the decoding budget.

    The clock is a fake that advances only during the wait.
    """
    now = 0.0

    @contextmanager
    def wait_and_fail(_admission, _memory, _waited):
        nonlocal now
        now += 2 * inference.DECODING_S
        raise Overloaded("the photo waited for memory")
        yield

    monkeypatch.setattr("lambda_app.inference.time", SimpleNamespace(perf_counter=lambda: now))
    monkeypatch.setattr(Admission, "reserve", wait_and_fail)
    answers = post(client, *[encode("blue")] * 3).json()
    assert ["overloaded"] * 3 == [one["error"]["code"] for one in answers]


def test_each_prediction_has_its_own_id(client, encode):
    """Each prediction of a batch has an id that differs from the others and from the request's."""
    answer = post(client, encode("red"), encode("red"))
    ids = {one["request_id"] for one in answer.json()}
    assert 2 == len(ids - {answer.headers["x-request-id"]})


def test_too_many_photos_are_refused_before_the_rest_is_read():
    """The server does not wait for photos that it will not classify."""
    coming = iter([PART * 3])

    async def receive():
        return {"type": "http.request", "body": next(coming), "more_body": True}

    request = Request({"type": "http", "headers": [(b"content-type", FORM.encode())]}, receive)
    with pytest.raises(BadField, match="more than 2 files"):
        read_photos(request, max_bytes=1000, max_photos=2).send(None)  # it waits for nothing, so it needs no loop


@pytest.mark.parametrize(
    ("status", "code", "message", "body", "content_type"),
    [
        (415, "unsupported_image", "expected multipart/form-data", b"x", "image/jpeg"),
        (400, "no_file", "no file named 'file'", b"--XbX--\r\n", FORM),
        (400, "bad_request", "is truncated", PART * 2 + b"--XbX", FORM),
        (413, "too_large", "at most 100000", form(bytes(100_001), NAMED), FORM),
        (413, "too_large", "at most 100000", part(bytes(50_001), NAMED) + form(bytes(50_001), NAMED), FORM),
        (422, "bad_field", "more than 16 files", PART * 16 + form(b"x", NAMED), FORM),
    ],
)
def test_invalid_form_is_refused_as_a_whole(client, status, code, message, body, content_type):
    """A truncated or empty form has one error and no partial results."""
    assert_error(uploads.post(client, body, content_type, "/predict/batch"), status, code, message)


def test_metrics_count_each_photo(client, encode):
    """Predictions are counted by class and errors by code, as for single photos."""
    post(client, encode("red"), encode("red"), encode("blue"), b"text")
    lines = client.get("/metrics").text.splitlines()
    assert {
        'prediction_requests_total{predicted_class="cat"} 2.0',
        'prediction_requests_total{predicted_class="dog"} 1.0',
        'prediction_errors_total{code="unsupported_image"} 1.0',
        "prediction_latency_seconds_count 3.0",
    } <= set(lines)
