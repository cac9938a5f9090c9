"""SQS messages to result lines in S3, and the handling of S3's errors. S3 is moto's server, over HTTP."""

import json
import ssl
from datetime import UTC, datetime
from urllib.parse import quote_plus

import pytest
from botocore.credentials import Credentials
from botocore.session import Session

from lambda_app.batch import handler as batch
from lambda_app.batch.handler import S3_CONFIG, BatchSettings, Scorer, processor
from lambda_app.batch.objects import (
    BODY_ATTEMPTS,
    RETRIES,
    URL_SECONDS,
    MalformedMessage,
    Manifest,
    Signer,
    Source,
    StorageRefused,
    read_message,
)
from lambda_app.errors import Overloaded
from lambda_app.settings import SettingsError
from tests.infra.score.cloud import PHOTOS, REGION, RESULTS, cloud
from tests.infra.score.mapping import event

pytestmark = pytest.mark.slow

PREFIX = "pets/"


@pytest.fixture(scope="module")
def aws(moto):
    with cloud(moto) as faulty_cloud:
        yield faulty_cloud


@pytest.fixture(scope="module")
def s3(aws):
    session = Session()
    session.set_credentials("test", "test")
    return session.create_client("s3", REGION, endpoint_url=aws.endpoint, config=S3_CONFIG)


@pytest.fixture
def scorer(aws, s3, tiny_classifier):
    aws.empty()
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


def manifest(*keys, bucket=PHOTOS):
    return Manifest(job="job", bucket=bucket, keys=list(keys)).model_dump_json()


def notification(*keys, event_name="ObjectCreated:Put", bucket=PHOTOS, **fields):
    objects = [{"key": quote_plus(key), **fields} for key in keys]
    records = [{"eventName": event_name, "s3": {"bucket": {"name": bucket}, "object": each}} for each in objects]
    return json.dumps({"Records": records})


def logged(capsys):
    """Return the lines of standard output."""
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def split(url):
    """Return the address and the sorted parameters of a URL."""
    address, _, query = url.partition("?")
    return address, sorted(query.split("&"))


def lines(aws):
    return [line for lines in aws.results().values() for line in lines]


def test_score_writes_a_line_for_a_photo(aws, scorer, encode):
    """The line has the prediction, the signals, the model version and the ETag."""
    aws.put("cat.jpg", encode("red"))
    scorer.score(manifest("cat.jpg"))
    [line] = lines(aws)
    assert (PHOTOS, "cat.jpg", None, "cat", False, "2026.01.01-tiny") == (
        line["bucket"],
        line["key"],
        line["version"],
        line["predicted_class"],
        line["unknown"],
        line["model_version"],
    )
    assert aws.s3.head_object(Bucket=PHOTOS, Key="cat.jpg")["ETag"] == f'"{line["etag"]}"'
    assert ({"cat", "dog"}, line["confidence"]) == (line["probabilities"].keys(), line["probabilities"]["cat"])
    assert "entropy" in line["signals"]


def test_score_writes_lines_in_the_order_of_the_message(aws, scorer, encode):
    """The order holds for more photos than are prefetched."""
    keys = [f"{number}.jpg" for number in range(40)]
    for key in keys:
        aws.put(key, encode("blue"))
    scorer.score(manifest(*keys))
    assert keys == [line["key"] for line in lines(aws)]


@pytest.mark.parametrize("key", ["a b+c&d.jpg", "ä/ö%20ü.jpg", 'quo"te, "etag": .jpg', "?#=.jpg"])
def test_score_reads_any_key(aws, scorer, encode, key):
    """Notifications have encoded keys, and manifests plain ones."""
    aws.put(key, encode("red"))
    scorer.score(notification(key))
    scorer.score(manifest(key))
    assert [(key, "cat")] * 2 == [(line["key"], line["predicted_class"]) for line in lines(aws)]


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "no_file"),
        (b"text", "unsupported_image"),
        (None, "damaged_image"),
        (bytes(100_001), "too_large"),
    ],
)
def test_score_writes_an_error_line_for_a_bad_photo(aws, scorer, encode, data, code):
    """The error is permanent, so the message succeeds."""
    aws.put("bad.jpg", encode("red", (200, 200))[:500] if data is None else data)
    scorer.score(manifest("bad.jpg"))
    [line] = lines(aws)
    assert (code, False) == (line["error_code"], "predicted_class" in line)
    assert line["error_message"]


def test_score_writes_an_error_line_for_a_missing_photo(aws, scorer):
    """The photo may have been deleted after the message was sent."""
    scorer.score(manifest("never.jpg"))
    [line] = lines(aws)
    assert ("missing", "S3 has no object with this key", None) == (
        line["error_code"],
        line["error_message"],
        line["etag"],
    )


@pytest.mark.parametrize("key", ["a/../b.jpg", "./b.jpg", "a/."])
def test_score_writes_an_error_line_for_a_dot_segment(aws, scorer, encode, key):
    """The HTTP client would remove the segment and fetch another object."""
    aws.put("b.jpg", encode("red"))
    scorer.score(manifest(key))
    [line] = lines(aws)
    assert ("bad_key", False) == (line["error_code"], "predicted_class" in line)


def test_score_reads_the_version_of_a_notification(aws, scorer, encode):
    """A manifest names no version and gets the newest."""
    aws.s3.create_bucket(Bucket="versions", CreateBucketConfiguration={"LocationConstraint": REGION})
    aws.s3.put_bucket_versioning(Bucket="versions", VersioningConfiguration={"Status": "Enabled"})
    old = aws.s3.put_object(Bucket="versions", Key="pet.jpg", Body=encode("blue"))["VersionId"]
    aws.s3.put_object(Bucket="versions", Key="pet.jpg", Body=encode("red"))
    scorer.score(notification("pet.jpg", bucket="versions", versionId=old))
    scorer.score(manifest("pet.jpg", bucket="versions"))
    found = {line["version"]: line["predicted_class"] for line in lines(aws)}
    assert {old: "dog", None: "cat"} == found


def test_score_is_idempotent(aws, scorer, encode):
    """A repeated message writes the same object again; other photos get another object."""
    aws.put("a.jpg", encode("red"))
    scorer.score(manifest("a.jpg"))
    before = aws.results()
    scorer.score(manifest("a.jpg"))
    assert before == aws.results()
    scorer.score(manifest("a.jpg", "b.jpg"))
    assert 2 == len(aws.results())


def test_temporary_error_of_decoding_fails_the_message(aws, scorer, encode, monkeypatch):
    """A decoder that does not finish in time fails the message, so that SQS delivers it again."""

    def overloaded(*_):
        raise Overloaded("decoding the HEIC did not finish within 60 s; try again later")

    aws.put("a.jpg", encode("red"))
    monkeypatch.setattr(batch, "preprocess", overloaded)
    with pytest.raises(Overloaded):
        scorer.score(manifest("a.jpg"))
    assert {} == aws.results()


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
def test_handler_ignores_messages_without_photos(aws, handle, body):
    """Classifying its own results would create an endless loop."""
    assert ([], {}) == (handle(body), aws.results())


@pytest.mark.parametrize("body", ["", "no JSON", "[]", "{}", '{"job": "../a", "bucket": "b", "keys": []}', "{}}"])
def test_read_message_refuses_a_malformed_message(body):
    """The error does not quote the message, which may contain object names."""
    with pytest.raises(MalformedMessage, match=rf"^a message of {len(body)} characters .*; expected a notification"):
        read_message(body)


def test_read_message_parses_a_notification():
    """A notification may name several photos; plus signs in its keys stand for spaces."""
    message = read_message(notification("a b.jpg", "c+d.jpg", versionId="v"))
    assert "notified" == message.job
    assert (Source(PHOTOS, "a b.jpg", "v"), Source(PHOTOS, "c+d.jpg", "v")) == message.sources


def test_handler_reports_failed_messages_alone(aws, handle, encode, capsys):
    """The others succeed. The log has the failed ids and the reasons, and no object names."""
    aws.put("a.jpg", encode("red"))
    assert ["1", "2"] == handle(
        manifest("a.jpg"), manifest("a.jpg", bucket="missing"), "no JSON", notification("a.jpg")
    )
    assert 2 == len(aws.results())
    log = logged(capsys)
    failed = {line["message_id"]: (line["error"], line["reason"]) for line in log if line["level"] == "ERROR"}
    assert ("StorageRefused", "S3 answered 404 NoSuchBucket") == failed["1"]
    assert "MalformedMessage" == failed["2"][0]
    assert "a.jpg" not in str(log)


def test_handler_fails_a_message_while_s3_is_unavailable(aws, handle, encode):
    """After all retries, the message fails without a result, and its next delivery succeeds."""
    aws.put("b.jpg", encode("red"))
    aws.faults["GET", "b.jpg"] = RETRIES.total + 2
    assert (["0"], {}) == (handle(manifest("b.jpg")), aws.results())
    assert [] == handle(manifest("b.jpg"))
    assert ["cat"] == [line["predicted_class"] for line in lines(aws)]


def test_handler_retries_a_body_that_breaks_off(aws, handle, encode):
    """After the last attempt, the message fails."""
    aws.put("a.jpg", encode("red"))
    aws.cuts["a.jpg"] = BODY_ATTEMPTS - 1
    assert [] == handle(manifest("a.jpg"))
    assert ["cat"] == [line["predicted_class"] for line in lines(aws)]
    aws.cuts["a.jpg"] = BODY_ATTEMPTS
    assert ["0"] == handle(manifest("a.jpg"))


@pytest.mark.parametrize(
    ("bucket", "address"),
    [
        ("my-photos", f"https://my-photos.s3.{REGION}.amazonaws.com/a.jpg"),
        ("my.photos", f"https://s3.{REGION}.amazonaws.com/my.photos/a.jpg"),
    ],
)
def test_signer_uses_the_regional_endpoint(bucket, address):
    """S3's global endpoint does not know new buckets, and its certificate covers no host name with further dots."""
    session = Session()
    session.set_credentials("test", "test")
    s3 = session.create_client("s3", REGION, config=S3_CONFIG)
    assert address == split(Signer(s3, session.get_credentials()).sign(Source(bucket, "a.jpg")))[0]


@pytest.mark.parametrize("key", ["a.jpg", "2026/a b+c%20.jpg", "-", "~/ä?&=#.jpg", "a//b'(!*).jpg"])
@pytest.mark.parametrize("version", [None, "3/L4kq+t="])
def test_signer_returns_the_urls_of_botocore(monkeypatch, key, version):
    """The signatures are equal, for temporary credentials too; botocore's method is only slower."""
    monkeypatch.setattr("botocore.auth.get_current_datetime", lambda: datetime(2026, 11, 21, tzinfo=UTC))
    session = Session()
    session.set_credentials("test", "test", "token/+=")
    s3 = session.create_client("s3", REGION, config=S3_CONFIG)
    parameters = {"Bucket": PHOTOS, "Key": key} | ({"VersionId": version} if version else {})
    expected = s3.generate_presigned_url("get_object", Params=parameters, ExpiresIn=URL_SECONDS)
    assert split(expected) == split(Signer(s3, session.get_credentials()).sign(Source(PHOTOS, key, version)))


def test_reader_verifies_s3_with_the_certificates_of_botocore(scorer):
    """The image has no others."""
    pool = scorer.reader.http.connection_from_url("https://s3.amazonaws.com")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(pool.ca_certs)
    assert len(context.get_ca_certs()) > 100


def test_reader_does_not_follow_redirects(aws, scorer, encode):
    """A signature is valid for one host, and no message names another."""
    aws.put("a.jpg", encode("red"))
    aws.redirects["old.jpg"] = f"/{PHOTOS}/a.jpg"
    with pytest.raises(StorageRefused, match="S3 answered 307"):
        scorer.reader.fetch(Source(PHOTOS, "old.jpg"))


def test_score_logs_one_line_for_a_message(aws, scorer, encode, capsys):
    """The line counts classes and errors, and has no object names."""
    for key, color in {"a.jpg": "red", "b.jpg": "blue", "c.jpg": "gray"}.items():
        aws.put(key, encode(color))
    scorer.score(manifest("a.jpg", "b.jpg", "c.jpg", "never.jpg"))
    [line] = logged(capsys)
    assert ("batch", 4, 1, {"missing": 1}) == (line["message"], line["photos"], line["unknown"], line["errors"])
    assert 3 == sum(line["predicted"].values())
    assert ".jpg" not in str(line)


def test_processor_never_fails_the_whole_batch():
    """By default, Powertools raises if all messages failed, and Lambda counts a function error."""
    assert not processor.raise_on_entire_batch_failure


def test_settings_require_the_results_bucket():
    """The error names the variable."""
    with pytest.raises(SettingsError, match="RESULTS_BUCKET"):
        BatchSettings.from_env({"RESULTS_PREFIX": PREFIX})
