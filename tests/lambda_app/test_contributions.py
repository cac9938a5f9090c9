"""Tests of contributed photos: consent, the form, the stored copy, the quota and failures of the storage."""

import hashlib
import io
import json
import re
from datetime import datetime
from http.server import ThreadingHTTPServer
from urllib.parse import unquote, urlsplit
from uuid import uuid4

import pytest
from PIL import ExifTags, Image, PngImagePlugin
from starlette.testclient import TestClient

from lambda_app.app import create_app
from lambda_app.contributions import stores
from lambda_app.contributions.acceptance import HOUR_S, HourlyQuota
from lambda_app.contributions.bucket import BucketStore
from lambda_app.contributions.contribution import SHORT_SIDE, Contribution, copy_photo
from lambda_app.contributions.contributor import check_names
from lambda_app.contributions.stores import FolderStore, open_store
from lambda_app.errors import StorageFailed, TooManyContributions
from lambda_app.preprocess import read_header
from lambda_app.settings import Settings, SettingsError
from tests.support import ROOT
from tests.support.contributing_function import BUCKET, s3_client
from tests.support.http_server import QuietHandler, serving

PREDICTION_ID = "abcdef11-2222-3333-4444-555555555555"
FORM = {"label": "dog", "request_id": PREDICTION_ID.upper(), "consent": "true"}
VERSION = "2026.01.01-tiny"


def settings(folder, **changes):
    return Settings(contributions=str(folder), max_image_bytes=100_000, max_image_pixels=1_000_000, **changes)


@pytest.fixture
def contributing(tiny_classifier, tmp_path):
    """Return a client of an app that keeps contributed photos in `tmp_path`."""
    return TestClient(create_app(tiny_classifier, settings(tmp_path)))


def contribute(client, photo, fields=FORM, **options):
    return client.post("/feedback", data=fields, files={"file": ("x.jpg", photo)}, **options)


def error_of(answer):
    return answer.status_code, answer.json()["error"]["code"], answer.json()["error"]["message"]


def files(folder):
    """Return the files of photos and metadata, without those that lead from a request to its photo."""
    found = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    return [name for name in found if not name.startswith("contributed/requests/")]


def read_copies(folder):
    return [path.read_bytes() for path in sorted(folder.rglob("*.jpg"))]


# --- consent and configuration ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("consent", [{}, {"consent": ""}, {"consent": "false"}, {"consent": "on"}, {"consent": "TRUE"}])
def test_photo_without_consent_is_refused(contributing, tmp_path, encode, consent):
    """Only the exact field `consent=true` counts as consent; otherwise nothing is stored."""
    answer = contribute(contributing, encode(), {"label": "dog", "request_id": PREDICTION_ID, **consent})
    status, code, message = error_of(answer)
    assert (422, "no_consent") == (status, code)
    assert "the form has no consent=true; expected it with a photo" in message
    assert [] == files(tmp_path)


def test_photo_is_refused_if_contributions_are_off(client, encode):
    """Without the setting, the error states that contributions are off, and what to send instead."""
    status, code, message = error_of(contribute(client, encode()))
    assert (403, "contributions_off") == (status, code)
    assert message.startswith("contributions are off: this server keeps no photos; send only request_id and label")


def test_json_feedback_is_unchanged(contributing, client):
    """JSON feedback has the same response with and without contributions."""
    body = {"request_id": PREDICTION_ID, "label": "dog"}
    answers = [each.post("/feedback", json=body).json() for each in (contributing, client)]
    assert [body | {"model_version": VERSION}] * 2 == answers


@pytest.mark.parametrize(
    "headers",
    [
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site", "origin": "http://testserver"},
        {"origin": "https://elsewhere.example"},
        {"origin": "null"},
    ],
)
def test_form_of_another_site_is_refused(contributing, tmp_path, encode, headers):
    """A form from a page of another origin is rejected, and nothing is stored."""
    assert (403, "cross_origin") == error_of(contribute(contributing, encode(), headers=headers))[:2]
    assert [] == files(tmp_path)


@pytest.mark.parametrize(
    "headers",
    [
        {"sec-fetch-site": "same-origin", "origin": "https://proxied.example"},
        {"sec-fetch-site": "none"},
        {"origin": "http://testserver"},
    ],
)
def test_form_of_own_page_is_accepted(contributing, encode, headers):
    """The server's page works behind a proxy, and in browsers that do not send `Sec-Fetch-Site`."""
    assert 200 == contribute(contributing, encode(), headers=headers).status_code


@pytest.mark.parametrize("value", ["s3://Upper", "s3://a", "s3://bucket/prefix", "/nowhere"])
def test_invalid_location_is_rejected_at_start(value):
    """The error names the variable, its value and the expected values."""
    with pytest.raises(SettingsError, match=rf"CONTRIBUTIONS is '{value}': .*expected s3://BUCKET, an existing folder"):
        Settings.from_env({"CONTRIBUTIONS": value})


@pytest.mark.parametrize("name", ["a/b", "..", "."])
def test_class_name_that_is_no_folder_name_is_rejected_at_start(name):
    """A class name that would change the path of a stored photo is an error."""
    with pytest.raises(SettingsError, match=re.escape(f"the model has the class {name!r}; expected class names that")):
        check_names(("cat", name))


@pytest.mark.parametrize("location", ["s3://bucket", "s3://bucket/"])
def test_bucket_is_opened_without_a_client(location):
    """The first photo creates the client, not the start."""
    store = open_store(location)
    assert (BucketStore, "bucket", False) == (type(store), store.bucket, "client" in vars(store))


# --- the form ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "code", "text"),
    [
        ({"label": "sofa"}, "bad_field", "label is 'sofa'; expected one of cat, dog"),
        ({"label": "x" * 5000}, "bad_field", f"label is '{'x' * 79}; expected one of cat, dog"),
        ({"label": None}, "bad_field", "label: Field required"),
        ({"request_id": "7"}, "bad_field", "request_id: Input should be a valid UUID"),
        ({"label": ["cat", "dog"]}, "bad_field", "the form has several fields 'label'; expected one"),
    ],
)
def test_invalid_field_is_refused(contributing, tmp_path, encode, changes, code, text):
    """The error names the field; nothing is stored."""
    fields = {name: value for name, value in (FORM | changes).items() if value is not None}
    answer = contribute(contributing, encode(), fields)
    assert code == answer.json()["error"]["code"]
    assert text in answer.json()["error"]["message"]
    assert [] == files(tmp_path)


def test_text_that_is_not_utf8_is_refused(contributing):
    """The error names the field."""
    body = b'--b\r\ncontent-disposition: form-data; name="label"\r\n\r\n\xff\r\n--b--\r\n'
    answer = contributing.post("/feedback", content=body, headers={"content-type": "multipart/form-data; boundary=b"})
    assert (422, "bad_field", "the field 'label' is not UTF-8: invalid start byte; expected text") == error_of(answer)


@pytest.mark.parametrize(
    ("photo", "expected"),
    [
        (b"", (400, "no_file")),
        (b"text", (415, "unsupported_image")),
        (b"\xff\xd8\xff" + b"0" * 100, (422, "damaged_image")),
        (bytes(200_000), (413, "too_large")),
    ],
)
def test_contributed_photo_has_limits_of_predictions(contributing, tmp_path, photo, expected):
    """A contributed photo is read with the same limits and rejected with the same errors as in predictions."""
    assert expected == error_of(contribute(contributing, photo))[:2]
    assert [] == files(tmp_path)


def test_photo_with_too_many_pixels_is_refused(contributing, encode):
    """`MAX_IMAGE_PIXELS` applies."""
    assert (413, "too_large") == error_of(contribute(contributing, encode(size=(1200, 1000))))[:2]


def test_form_without_photo_is_refused(contributing):
    """A form needs the file; the error names the fields that it has."""
    answer = contributing.post("/feedback", files={name: (None, value) for name, value in FORM.items()})
    assert (400, "no_file") == error_of(answer)[:2]


# --- what is stored ---------------------------------------------------------------------------------------------------


def test_photo_is_stored_with_the_server_prediction(contributing, tmp_path, encode):
    """The key has model version, label and digest; the prediction is the server's, not the one in the form."""
    answer = contribute(contributing, encode("red"), FORM | {"prediction": "dog", "confidence": "0.1"})
    [copy] = read_copies(tmp_path)
    digest = hashlib.sha256(copy).hexdigest()
    folder = f"contributed/{VERSION}/dog"
    assert [f"{folder}/{digest}.jpg", f"{folder}/{digest}.json"] == files(tmp_path)
    expected = {"request_id": PREDICTION_ID, "label": "dog", "model_version": VERSION, "contribution": digest}
    assert (200, expected) == (answer.status_code, answer.json())
    metadata = json.loads((tmp_path / folder / f"{digest}.json").read_text())
    assert ["request-id", "prediction", "confidence", "time"] == list(metadata)
    again = contributing.post("/predict", content=copy).json()
    assert (PREDICTION_ID, "cat", f"{again['confidence']:.6f}") == tuple(metadata.values())[:3]
    assert datetime.fromisoformat(metadata["time"]).utcoffset().total_seconds() == 0
    assert {0o600} == {path.stat().st_mode & 0o777 for path in (tmp_path / folder).iterdir()}


def test_same_photo_is_stored_once(contributing, tmp_path, encode):
    """The second contribution replaces the first one; a contribution with another label is stored separately."""
    digests = [contribute(contributing, encode()).json()["contribution"] for _ in range(2)]
    contribute(contributing, encode(), FORM | {"label": "cat"})
    assert (1, 2) == (len(set(digests)), len(read_copies(tmp_path)))


def test_every_sender_of_a_photo_is_recorded(contributing, tmp_path, encode):
    """An empty file leads from the request of each sender to the photo, whose metadata name only the last sender."""
    ids = [PREDICTION_ID, str(uuid4())]
    [digest] = {contribute(contributing, encode(), FORM | {"request_id": i}).json()["contribution"] for i in ids}
    paths = [tmp_path / f"contributed/requests/{i}/{digest}" for i in ids]
    assert [b"", b""] == [path.read_bytes() for path in paths]


def test_copy_has_no_metadata(contributing, tmp_path):
    """The copy is upright, without location, comments, profiles, thumbnails and bytes after the picture."""
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    exif[ExifTags.Base.ImageDescription] = "s3cret"
    exif.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSLatitude] = (48.0, 12.0, 0.0)
    file = io.BytesIO()
    options = {"exif": exif, "comment": b"s3cret", "xmp": b"s3cret", "dpi": (300, 300)}
    Image.new("RGB", (64, 48), "red").save(file, "JPEG", **options)
    assert 200 == contribute(contributing, file.getvalue() + b"s3cret").status_code
    [copy] = read_copies(tmp_path)
    image = Image.open(io.BytesIO(copy))
    assert ((48, 64), "JPEG", {}) == (image.size, image.format, dict(image.getexif()))
    assert {"jfif", "jfif_version", "jfif_unit", "jfif_density"} == set(image.info)
    assert b"s3cret" not in copy


@pytest.mark.parametrize("image_format", ["PNG", "GIF", "TIFF", "WEBP"])
def test_texts_of_other_formats_are_not_copied(encode, image_format):
    """Comments of PNG, GIF, TIFF and WebP photos are not in the copy."""
    exif, text = Image.Exif(), PngImagePlugin.PngInfo()
    exif[ExifTags.Base.ImageDescription] = "s3cret"
    text.add_text("comment", "s3cret")
    options = {"PNG": {"pnginfo": text}, "GIF": {"comment": b"s3cret"}}.get(image_format, {})
    original = encode(image_format=image_format, exif=exif, **options)
    assert b"s3cret" in original
    copy = copy_photo(read_header(original))
    assert b"s3cret" not in copy
    assert "comment" not in Image.open(io.BytesIO(copy)).info


@pytest.mark.parametrize(
    ("size", "expected"),
    [((64, 48), (64, 48)), ((600, 512), (600, 512)), ((900, 600), (768, 512)), ((1, 600), (1, 600))],
)
def test_copy_is_limited_to_size_of_page(encode, size, expected):
    """The copy's short side has at most 512 pixels; small photos keep their size."""
    copy = copy_photo(read_header(encode(size=size, image_format="PNG")))
    assert expected == Image.open(io.BytesIO(copy)).size


def test_page_and_server_agree_on_the_size():
    """The page shrinks photos to the size that the server keeps."""
    text = (ROOT / "lambda_app/web/page.html").read_text()
    assert [str(SHORT_SIDE)] == re.findall(r"SHORT_SIDE = (\d+);", text)


def test_metadata_is_ascii():
    """S3 accepts only ASCII in metadata, so class names are percent-encoded."""
    contribution = Contribution(
        b"", "a", "id", "Kätzchen 100 %", 0.5, "v", datetime.fromisoformat("2026-01-31T12:00:00Z")
    )
    metadata = contribution.metadata
    assert metadata["prediction"].isascii()
    assert ("Kätzchen 100 %", "0.500000", "2026-01-31T12:00:00+00:00") == (
        unquote(metadata["prediction"]),
        metadata["confidence"],
        metadata["time"],
    )


# --- limits and failures ----------------------------------------------------------------------------------------------


def test_quota_is_per_hour():
    """The error for the photo over the limit has the seconds to wait; after these, the photo is accepted."""
    now = [0.0]
    quota = HourlyQuota(2, lambda: now[0])
    for now[0] in (0.0, 10.0):
        with quota.reserve():
            pass
    now[0] = 20.0
    with pytest.raises(TooManyContributions, match=r"accepted 2 photos within an hour; try again in 3580 s") as refused:
        quota.reserve().__enter__()
    assert HOUR_S - 20 == refused.value.retry_after
    now[0] += refused.value.retry_after
    with quota.reserve():
        pass


def test_refused_photos_do_not_use_up_the_quota(tiny_classifier, tmp_path, encode):
    """Only stored photos count; the photo over the limit gets 429 with Retry-After, and JSON still works."""
    client = TestClient(create_app(tiny_classifier, settings(tmp_path, contributions_per_hour=1)))
    assert [415, 415, 200] == [contribute(client, photo).status_code for photo in (b"text", b"text", encode())]
    answer = contribute(client, encode("blue"))
    assert (429, "too_many_contributions") == error_of(answer)[:2]
    assert 0 < int(answer.headers["retry-after"]) <= HOUR_S
    assert 200 == client.post("/feedback", json={"request_id": PREDICTION_ID, "label": "dog"}).status_code


def test_interrupted_write_leaves_no_photo(tmp_path, monkeypatch):
    """If the disk is full, neither the photo nor a temporary file remains, and the error has the system's code.

    `os.fsync` is replaced, because a test cannot fill the disk.
    """
    calls = []

    def fill_up(_):
        calls.append(None)
        if len(calls) == 3:  # of the photo, after the file of its request and its metadata
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(stores.os, "fsync", fill_up)
    contribution = Contribution(b"photo", "cat", "id", "dog", 0.5, "v", datetime.fromisoformat("2026-01-31T12:00:00Z"))
    with pytest.raises(StorageFailed) as failed:
        FolderStore(tmp_path).put(contribution)
    assert "ENOSPC" == failed.value.reason
    assert [f"contributed/v/cat/{contribution.digest}.json"] == files(tmp_path)


def test_failed_storage_is_logged(logged, tmp_path, encode):
    """A folder that cannot be written gives 503. The log has the reason; the metrics count no feedback."""
    logged.settings = settings(tmp_path)
    (tmp_path / "contributed").write_text("a file where the folder should be")
    answer = contribute(logged.client, encode())
    assert (503, "storage_failed") == error_of(answer)[:2]
    [line] = [line for line in logged.lines() if line.get("message") == "request"]
    assert ("storage_failed", "ENOTDIR") == (line["error_code"], line["storage_error"])
    text = logged.client.get("/metrics").text
    assert not re.findall(r"^(?:contributions|feedback_unmatched)_total\{", text, re.MULTILINE)


def test_contribution_is_logged_and_counted(logged, tmp_path, encode):
    """The log line of the feedback has the digest. The metrics count a contribution and no prediction."""
    logged.settings = settings(tmp_path)
    digest = contribute(logged.client, encode()).json()["contribution"]
    request, feedback, metrics = logged.lines()
    assert "predicted_class" not in request
    assert (PREDICTION_ID, "dog", digest) == tuple(feedback[name] for name in ("feedback_for", "label", "contribution"))
    assert ([1.0], [1.0]) == (metrics["Contributions"], metrics["Feedback"])
    assert {"Predictions", "Unknown", "InferenceLatency"}.isdisjoint(metrics)
    assert 'contributions_total{label="dog"} 1.0' in logged.client.get("/metrics").text.splitlines()


# --- S3 ---------------------------------------------------------------------------------------------------------------


@pytest.fixture
def bucket(aws, monkeypatch):
    """Return an S3 client of moto's server, after creating the bucket."""
    s3 = s3_client(aws)
    s3.create_bucket(Bucket=BUCKET)
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    return s3


def test_photo_is_stored_in_s3(bucket, tiny_classifier, encode):
    """The object is encrypted, and has the content type and the metadata."""
    client = TestClient(create_app(tiny_classifier, settings(f"s3://{BUCKET}")))
    digest = contribute(client, encode("red")).json()["contribution"]
    found = bucket.get_object(Bucket=BUCKET, Key=f"contributed/{VERSION}/dog/{digest}.jpg")
    assert ("AES256", "image/jpeg") == (found["ServerSideEncryption"], found["ContentType"])
    assert {"request-id", "prediction", "confidence", "time"} == found["Metadata"].keys()
    assert digest == hashlib.sha256(found["Body"].read()).hexdigest()
    record = bucket.head_object(Bucket=BUCKET, Key=f"contributed/requests/{PREDICTION_ID}/{digest}")
    assert (0, "AES256") == (record["ContentLength"], record["ServerSideEncryption"])


@pytest.mark.parametrize(("port", "reason"), [(None, "NoSuchBucket"), (1, "EndpointConnectionError")])
def test_s3_error_is_a_storage_failure(aws, logged, monkeypatch, encode, port, reason):
    """If the bucket is missing or S3 cannot be reached, the response is 503, and the log has the reason."""
    if port:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{urlsplit(aws).hostname}:{port}")
    logged.settings = settings("s3://nowhere")
    assert (503, "storage_failed") == error_of(contribute(logged.client, encode()))[:2]
    [line] = [line for line in logged.lines() if line.get("message") == "request"]
    assert reason == line["storage_error"]


class Unavailable(QuietHandler):
    """Answer every upload with 503, and count them."""

    protocol_version = "HTTP/1.1"  # for `Expect: 100-continue`

    def do_PUT(self):  # noqa: N802  # http.server calls this name
        self.rfile.read(int(self.headers["Content-Length"]))
        self.server.uploads.append(self.path)
        self.send_response(503)
        self.send_header("Content-Length", "0")
        self.end_headers()


def test_unavailable_s3_is_tried_twice(aws, logged, monkeypatch, encode):
    """An object that S3 cannot store is sent twice, because more attempts could exceed the function's timeout."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Unavailable)
    server.uploads = []
    with serving(server) as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        logged.settings = settings("s3://bucket")
        assert (503, "storage_failed") == error_of(contribute(logged.client, encode()))[:2]
    assert (2, 1) == (len(server.uploads), len(set(server.uploads)))
