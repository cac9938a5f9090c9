"""Test the SQS handler: result lines in S3, and errors of S3. moto's server replaces AWS."""

import json
import ssl

import pytest
from botocore.credentials import Credentials
from botocore.session import Session

from lambda_app.batch import handler as batch
from lambda_app.batch.handler import S3_CONFIG, BatchSettings, Scorer
from lambda_app.batch.objects import (
    BODY_ATTEMPTS,
    RETRIES,
    Source,
    StorageRefused,
)
from lambda_app.errors import Overloaded
from tests.lambda_app.batch_messages import manifest, notification
from tests.support.event_source_mapping import event
from tests.support.faulty_cloud import PHOTOS, RESULTS
from tests.support.sam import REGION

pytestmark = pytest.mark.slow

PREFIX = "pets/"


@pytest.fixture(scope="module")
def s3(moto_cloud):
    session = Session()
    session.set_credentials("test", "test")
    return session.create_client("s3", REGION, endpoint_url=moto_cloud.endpoint, config=S3_CONFIG)


@pytest.fixture
def scorer(moto_cloud, s3, tiny_classifier, monkeypatch):
    """Return a scorer that retries without pauses."""
    moto_cloud.empty()
    monkeypatch.setattr("lambda_app.batch.objects.RETRIES", RETRIES.new(backoff_factor=0, backoff_jitter=0))
    settings = BatchSettings(
        results_bucket=RESULTS, results_prefix=PREFIX, max_image_bytes=100_000, max_image_pixels=1_000_000
    )
    return Scorer(tiny_classifier, settings, s3, Credentials("test", "test"))


@pytest.fixture
def handle(scorer, monkeypatch):
    """Return a function that invokes the handler with one message per body, numbered from 0, and returns failed ids."""
    monkeypatch.setattr(batch, "scorer", lambda: scorer)

    def handle(*bodies):
        messages = [
            {"MessageId": str(place), "ReceiptHandle": "", "Body": body, "Attributes": {"ApproximateReceiveCount": "1"}}
            for place, body in enumerate(bodies)
        ]
        answer = batch.handler(event(messages), None)
        return [each["itemIdentifier"] for each in answer["batchItemFailures"]]

    return handle


def lines(moto_cloud):
    return [line for lines in moto_cloud.results().values() for line in lines]


def test_score_writes_a_line_for_a_photo(moto_cloud, scorer, encode):
    """The line has the prediction, the signals, the model version and the ETag."""
    moto_cloud.put("cat.jpg", encode("red"))
    scorer.score(manifest("cat.jpg"))
    [line] = lines(moto_cloud)
    assert (PHOTOS, "cat.jpg", None, "cat", False, "2026.01.01-tiny") == (
        line["bucket"],
        line["key"],
        line["version"],
        line["predicted_class"],
        line["unknown"],
        line["model_version"],
    )
    assert moto_cloud.s3.head_object(Bucket=PHOTOS, Key="cat.jpg")["ETag"] == f'"{line["etag"]}"'
    assert ({"cat", "dog"}, line["confidence"]) == (line["probabilities"].keys(), line["probabilities"]["cat"])
    assert "entropy" in line["signals"]


def test_score_writes_lines_in_the_order_of_the_message(moto_cloud, scorer, encode):
    """The order holds for more photos than are prefetched."""
    keys = [f"{number}.jpg" for number in range(40)]
    for key in keys:
        moto_cloud.put(key, encode("blue"))
    scorer.score(manifest(*keys))
    assert keys == [line["key"] for line in lines(moto_cloud)]


@pytest.mark.parametrize("key", ["a b+c&d.jpg", "ä/ö%20ü.jpg", 'quo"te, "etag": .jpg', "?#=.jpg"])
def test_score_reads_any_key(moto_cloud, scorer, encode, key):
    """A key with special characters is read from a notification, which encodes it, and from a manifest."""
    moto_cloud.put(key, encode("red"))
    scorer.score(notification(key))
    scorer.score(manifest(key))
    assert [(key, "cat")] * 2 == [(line["key"], line["predicted_class"]) for line in lines(moto_cloud)]


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "no_file"),
        (b"text", "unsupported_image"),
        (None, "damaged_image"),
        (bytes(100_001), "too_large"),
    ],
)
def test_score_writes_an_error_line_for_a_bad_photo(moto_cloud, scorer, encode, data, code):
    """A photo that cannot be classified gets an error code, and the message succeeds: a retry would fail, too."""
    moto_cloud.put("bad.jpg", encode("red", (200, 200))[:500] if data is None else data)
    scorer.score(manifest("bad.jpg"))
    [line] = lines(moto_cloud)
    assert (code, False) == (line["error_code"], "predicted_class" in line)
    assert line["error_message"]


def test_score_writes_an_error_line_for_a_missing_photo(moto_cloud, scorer):
    """A photo that S3 does not have gets a line with the code `missing` and no ETag."""
    scorer.score(manifest("never.jpg"))
    [line] = lines(moto_cloud)
    assert ("missing", "S3 has no object with this key", None) == (
        line["error_code"],
        line["error_message"],
        line["etag"],
    )


@pytest.mark.parametrize("key", ["a/../b.jpg", "./b.jpg", "a/."])
def test_score_writes_an_error_line_for_a_dot_segment(moto_cloud, scorer, encode, key):
    """A key with a dot segment gets `bad_key`: the HTTP client would remove the segment and fetch another object."""
    moto_cloud.put("b.jpg", encode("red"))
    scorer.score(manifest(key))
    [line] = lines(moto_cloud)
    assert ("bad_key", False) == (line["error_code"], "predicted_class" in line)


def test_score_reads_the_version_of_a_notification(moto_cloud, scorer, encode):
    """A manifest names no version and gets the newest."""
    moto_cloud.s3.create_bucket(Bucket="versions", CreateBucketConfiguration={"LocationConstraint": REGION})
    moto_cloud.s3.put_bucket_versioning(Bucket="versions", VersioningConfiguration={"Status": "Enabled"})
    old = moto_cloud.s3.put_object(Bucket="versions", Key="pet.jpg", Body=encode("blue"))["VersionId"]
    moto_cloud.s3.put_object(Bucket="versions", Key="pet.jpg", Body=encode("red"))
    scorer.score(notification("pet.jpg", bucket="versions", versionId=old))
    scorer.score(manifest("pet.jpg", bucket="versions"))
    found = {line["version"]: line["predicted_class"] for line in lines(moto_cloud)}
    assert {old: "dog", None: "cat"} == found


def test_score_is_idempotent(moto_cloud, scorer, encode):
    """A repeated message writes the same object again; other photos get another object."""
    moto_cloud.put("a.jpg", encode("red"))
    scorer.score(manifest("a.jpg"))
    before = moto_cloud.results()
    scorer.score(manifest("a.jpg"))
    assert before == moto_cloud.results()
    scorer.score(manifest("a.jpg", "b.jpg"))
    assert 2 == len(moto_cloud.results())


def test_temporary_error_of_decoding_fails_the_message(moto_cloud, scorer, encode, monkeypatch):
    """A decoder that does not finish in time fails the message, so that SQS delivers it again."""

    def overloaded(*_):
        raise Overloaded("decoding the HEIC did not finish within 60 s; try again later")

    moto_cloud.put("a.jpg", encode("red"))
    monkeypatch.setattr(batch, "preprocess", overloaded)
    with pytest.raises(Overloaded):
        scorer.score(manifest("a.jpg"))
    assert {} == moto_cloud.results()


@pytest.mark.parametrize(
    "body",
    [
        json.dumps({"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": PHOTOS}),
        notification("a.jpg", event_name="ObjectRemoved:Delete"),
        notification("2026/"),
        notification(f"{PREFIX}job/a.jsonl", bucket=RESULTS),
        manifest(f"{PREFIX}job/a.jsonl", bucket=RESULTS),
        manifest(),
    ],
    ids=["S3 test event", "deletion", "folder", "notified result", "listed result", "no keys"],
)
def test_handler_ignores_messages_without_photos(moto_cloud, handle, body):
    """Messages without photos, or with keys of results, succeed and write nothing."""
    assert ([], {}) == (handle(body), moto_cloud.results())


def test_handler_reports_failed_messages_alone(moto_cloud, handle, encode, logged):
    """The others succeed. The log has the failed ids and the reasons, and no object names."""
    moto_cloud.put("a.jpg", encode("red"))
    assert ["1", "2"] == handle(
        manifest("a.jpg"), manifest("a.jpg", bucket="missing"), "no JSON", notification("a.jpg")
    )
    assert 2 == len(moto_cloud.results())
    log = logged.lines()
    failed = {line["message_id"]: (line["error"], line["reason"]) for line in log if line["level"] == "ERROR"}
    assert ("StorageRefused", "S3 answered 404 NoSuchBucket") == failed["1"]
    assert "MalformedMessage" == failed["2"][0]
    assert "a.jpg" not in str(log)


def test_handler_fails_a_message_while_s3_is_unavailable(moto_cloud, handle, encode):
    """After all retries, the message fails without a result, and its next delivery succeeds."""
    moto_cloud.put("b.jpg", encode("red"))
    moto_cloud.faults["GET", "b.jpg"] = RETRIES.total + 2
    assert (["0"], {}) == (handle(manifest("b.jpg")), moto_cloud.results())
    assert [] == handle(manifest("b.jpg"))
    assert ["cat"] == [line["predicted_class"] for line in lines(moto_cloud)]


def test_handler_retries_a_body_that_breaks_off(moto_cloud, handle, encode):
    """After the last attempt, the message fails."""
    moto_cloud.put("a.jpg", encode("red"))
    moto_cloud.cuts["a.jpg"] = BODY_ATTEMPTS - 1
    assert [] == handle(manifest("a.jpg"))
    assert ["cat"] == [line["predicted_class"] for line in lines(moto_cloud)]
    moto_cloud.cuts["a.jpg"] = BODY_ATTEMPTS
    assert ["0"] == handle(manifest("a.jpg"))


def test_reader_verifies_s3_with_the_certificates_of_botocore(scorer):
    """The HTTP client trusts botocore's certificates; the image has no others."""
    pool = scorer.reader.http.connection_from_url("https://s3.amazonaws.com")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(pool.ca_certs)
    assert len(context.get_ca_certs()) > 100


def test_reader_does_not_follow_redirects(moto_cloud, scorer, encode):
    """A redirect raises `StorageRefused`: a signature is valid for one host."""
    moto_cloud.put("a.jpg", encode("red"))
    moto_cloud.redirects["old.jpg"] = f"/{PHOTOS}/a.jpg"
    with pytest.raises(StorageRefused, match="S3 answered 307"):
        scorer.reader.fetch(Source(PHOTOS, "old.jpg"))


def test_score_logs_one_line_for_a_message(moto_cloud, scorer, encode, logged):
    """The line counts classes and errors, and has no object names."""
    for key, color in {"a.jpg": "red", "b.jpg": "blue", "c.jpg": "gray"}.items():
        moto_cloud.put(key, encode(color))
    scorer.score(manifest("a.jpg", "b.jpg", "c.jpg", "never.jpg"))
    [line] = logged.lines()
    assert ("batch", 4, 1, {"missing": 1}) == (line["message"], line["photos"], line["unknown"], line["errors"])
    assert 3 == sum(line["predicted"].values())
    assert ".jpg" not in str(line)
