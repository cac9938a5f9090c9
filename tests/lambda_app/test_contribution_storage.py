"""Test the quota of contributed photos, failures of the storage, and the storage in S3."""

import hashlib
import re
from datetime import datetime
from http.server import ThreadingHTTPServer

import pytest
from starlette.testclient import TestClient

from lambda_app.app import create_app
from lambda_app.contributions import stores
from lambda_app.contributions.acceptance import HOUR_S, HourlyQuota
from lambda_app.contributions.contribution import Contribution
from lambda_app.contributions.stores import FolderStore
from lambda_app.errors import StorageFailed, TooManyContributions
from tests.lambda_app.contribution_requests import (
    PREDICTION_ID,
    VERSION,
    contribute,
    files,
    settings,
)
from tests.support.contributing_function import BUCKET
from tests.support.http_server import QuietHandler, refusing_url, serving
from tests.support.moto import s3_client
from tests.support.uploads import assert_error


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
    assert_error(answer, 429, "too_many_contributions")
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
    assert_error(answer, 503, "storage_failed")
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


@pytest.fixture
def bucket(aws, monkeypatch):
    """Return an S3 client of moto's server, after creating the bucket."""
    s3 = s3_client(aws)
    s3.create_bucket(Bucket=BUCKET)
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    return s3


def test_photo_is_stored_in_s3(bucket, tiny_classifier, encode):
    """The object is encrypted, and has the content type and the metadata."""
    client = TestClient(create_app(tiny_classifier, settings(f"s3://{BUCKET}/")))
    digest = contribute(client, encode("red")).json()["contribution"]
    found = bucket.get_object(Bucket=BUCKET, Key=f"contributed/{VERSION}/dog/{digest}.jpg")
    assert ("AES256", "image/jpeg") == (found["ServerSideEncryption"], found["ContentType"])
    assert {"request-id", "prediction", "confidence", "time"} == found["Metadata"].keys()
    assert digest == hashlib.sha256(found["Body"].read()).hexdigest()
    record = bucket.head_object(Bucket=BUCKET, Key=f"contributed/requests/{PREDICTION_ID}/{digest}")
    assert (0, "AES256") == (record["ContentLength"], record["ServerSideEncryption"])


@pytest.mark.parametrize("reason", ["NoSuchBucket", "EndpointConnectionError"])
def test_s3_error_is_a_storage_failure(aws, logged, monkeypatch, encode, reason):
    """If the bucket is missing or S3 cannot be reached, the response is 503, and the log has the reason."""
    logged.settings = settings("s3://nowhere")
    with refusing_url() as url:
        if reason == "EndpointConnectionError":
            monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        assert_error(contribute(logged.client, encode()), 503, "storage_failed")
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
        assert_error(contribute(logged.client, encode()), 503, "storage_failed")
    assert (2, 1) == (len(server.uploads), len(set(server.uploads)))
