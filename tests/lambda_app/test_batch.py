"""Messages of SQS to lines in S3: what photos come to, and what AWS's faults come to. S3 is moto's, over HTTP."""

import io
import json
import logging
import ssl
from datetime import UTC, datetime
from urllib.parse import quote_plus

import pytest
from botocore.credentials import Credentials
from botocore.session import Session

from lambda_app.batch import handler as batch
from lambda_app.batch.handler import S3_CONFIG, BatchSettings, Scorer, Signer, processor
from lambda_app.batch.objects import (
    ATTEMPTS,
    BODIES,
    URL_SECONDS,
    MalformedMessage,
    Manifest,
    Source,
    StorageRefused,
    read_message,
)
from lambda_app.settings import SettingsError
from tests.infra.score.cloud import PHOTOS, REGION, RESULTS, cloud
from tests.infra.score.mapping import event

pytestmark = pytest.mark.slow

PREFIX = "pets/"


@pytest.fixture(scope="module")
def aws(moto):
    with cloud(moto) as made:
        yield made


@pytest.fixture(scope="module")
def s3(aws):
    session = Session()
    session.set_credentials("test", "test")
    return session.create_client("s3", REGION, endpoint_url=aws.endpoint, config=S3_CONFIG)


@pytest.fixture
def scorer(aws, s3, tiny_classifier, monkeypatch):
    aws.empty()
    # Powertools keeps one logger a service, with the level and the standard output of the test that came first.
    monkeypatch.delitem(
        logging.root.manager.loggerDict, BatchSettings.model_fields["service_name"].default, raising=False
    )
    settings = BatchSettings(
        results_bucket=RESULTS, results_prefix=PREFIX, max_image_bytes=100_000, max_image_pixels=1_000_000
    )
    made = Scorer(tiny_classifier, settings, s3, Credentials("test", "test"))
    made.logger.registered_handler.setStream(io.StringIO())
    return made


@pytest.fixture
def handle(scorer, monkeypatch):
    """Lambda's call with these bodies, the i-th with message id i; what it answers."""
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


def notification(*keys, event_name="ObjectCreated:Put", bucket=PHOTOS, **about):
    objects = [{"key": quote_plus(key), **about} for key in keys]
    records = [{"eventName": event_name, "s3": {"bucket": {"name": bucket}, "object": each}} for each in objects]
    return json.dumps({"Records": records})


def logged(scorer):
    return [json.loads(line) for line in scorer.logger.registered_handler.stream.getvalue().splitlines()]


def address_of(url):
    return url.partition("?")[0]


def query_of(url):
    return sorted(url.partition("?")[2].split("&"))


def lines(aws):
    return [line for found in aws.results().values() for line in found]


def test_a_photo_becomes_a_line(aws, scorer, encode):
    """With the answer, of which model and of which bytes, and what drift is told by."""
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


def test_lines_are_in_the_messages_order(aws, scorer, encode):
    """Whoever of them came first; more than are fetched ahead."""
    keys = [f"{number}.jpg" for number in range(40)]
    for key in keys:
        aws.put(key, encode("blue"))
    scorer.score(manifest(*keys))
    assert keys == [line["key"] for line in lines(aws)]


@pytest.mark.parametrize("key", ["a b+c&d.jpg", "ä/ö%20ü.jpg", 'quo"te, "etag": .jpg', "?#=.jpg"])
def test_any_name_is_read(aws, scorer, encode, key):
    """As S3 encodes it in a notification, and as a manifest holds it."""
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
def test_a_bad_photo_is_a_line_with_its_reason(aws, scorer, encode, data, code):
    """The message is done: a photo that cannot be read today cannot be tomorrow."""
    aws.put("bad.jpg", encode("red", (200, 200))[:500] if data is None else data)
    scorer.score(manifest("bad.jpg"))
    [line] = lines(aws)
    assert (code, False) == (line["error_code"], "predicted_class" in line)
    assert line["error_message"]


def test_a_missing_photo_is_a_line_with_its_reason(aws, scorer):
    """It was deleted since it was named."""
    scorer.score(manifest("never.jpg"))
    [line] = lines(aws)
    assert ("missing", "S3 has no object of this name", None) == (
        line["error_code"],
        line["error_message"],
        line["etag"],
    )


@pytest.mark.parametrize("key", ["a/../b.jpg", "./b.jpg", "a/."])
def test_a_key_with_a_dot_segment_is_an_error_line(aws, scorer, encode, key):
    """An HTTP client would remove the segment, and another object's photo would be classified."""
    aws.put("b.jpg", encode("red"))
    scorer.score(manifest(key))
    [line] = lines(aws)
    assert ("bad_key", False) == (line["error_code"], "predicted_class" in line)


def test_a_version_is_read_where_one_is_named(aws, scorer, encode):
    """A notification of a bucket with versions names one; the newest may be another photo by now."""
    aws.s3.create_bucket(Bucket="versions", CreateBucketConfiguration={"LocationConstraint": REGION})
    aws.s3.put_bucket_versioning(Bucket="versions", VersioningConfiguration={"Status": "Enabled"})
    old = aws.s3.put_object(Bucket="versions", Key="pet.jpg", Body=encode("blue"))["VersionId"]
    aws.s3.put_object(Bucket="versions", Key="pet.jpg", Body=encode("red"))
    scorer.score(notification("pet.jpg", bucket="versions", versionId=old))
    scorer.score(manifest("pet.jpg", bucket="versions"))
    found = {line["version"]: line["predicted_class"] for line in lines(aws)}
    assert {old: "dog", None: "cat"} == found


def test_a_message_that_comes_twice_changes_nothing(aws, scorer, encode):
    """The same object again, with the same bytes; other photos have another."""
    aws.put("a.jpg", encode("red"))
    scorer.score(manifest("a.jpg"))
    before = aws.results()
    scorer.score(manifest("a.jpg"))
    assert before == aws.results()
    scorer.score(manifest("a.jpg", "b.jpg"))
    assert 2 == len(aws.results())


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
    ids=["S3's test", "a deletion", "a folder", "a notified result", "a listed result", "nothing"],
)
def test_what_names_no_photo_is_done(aws, handle, body):
    """Without a result; its own results above all would never end."""
    assert ([], {}) == (handle(body), aws.results())


@pytest.mark.parametrize("body", ["", "no JSON", "[]", "{}", '{"job": "../a", "bucket": "b", "keys": []}', "{}}"])
def test_a_message_of_nobodys_is_refused(body):
    """By an error that says what was expected, and does not quote it: it may hold names."""
    with pytest.raises(MalformedMessage, match=rf"^a message of {len(body)} characters .*; expected a notification"):
        read_message(body)


def test_s3s_notification_is_read():
    """Several photos in one; plus signs are spaces."""
    found = read_message(notification("a b.jpg", "c+d.jpg", versionId="v"))
    assert ("notified", (Source(PHOTOS, "a b.jpg", "v"), Source(PHOTOS, "c+d.jpg", "v"))) == (found.job, found.sources)


def test_a_message_fails_alone(aws, scorer, handle, encode):
    """Those before and after it are done; the log says which failed and why, and names no photo."""
    aws.put("a.jpg", encode("red"))
    assert ["1", "2"] == handle(
        manifest("a.jpg"), manifest("a.jpg", bucket="nobodys"), "no JSON", notification("a.jpg")
    )
    assert 2 == len(aws.results())
    log = logged(scorer)
    failed = {line["message_id"]: (line["error"], line["reason"]) for line in log if line["level"] == "ERROR"}
    assert ("StorageRefused", "S3 answered 404 NoSuchBucket") == failed["1"]
    assert "MalformedMessage" == failed["2"][0]
    assert "a.jpg" not in str(log)


def test_a_fault_of_s3_is_not_a_photos(aws, handle, encode):
    """S3 is asked again; where it stays at it the message fails without a result, and its next delivery succeeds."""
    aws.put("b.jpg", encode("red"))
    aws.faults["GET", "b.jpg"] = ATTEMPTS.total + 2
    assert (["0"], {}) == (handle(manifest("b.jpg")), aws.results())
    assert [] == handle(manifest("b.jpg"))
    assert ["cat"] == [line["predicted_class"] for line in lines(aws)]


def test_a_photo_that_breaks_off_is_read_again(aws, handle, encode):
    """So often; after that its message fails."""
    aws.put("a.jpg", encode("red"))
    aws.cuts["a.jpg"] = BODIES - 1
    assert [] == handle(manifest("a.jpg"))
    assert ["cat"] == [line["predicted_class"] for line in lines(aws)]
    aws.cuts["a.jpg"] = BODIES
    assert ["0"] == handle(manifest("a.jpg"))


@pytest.mark.parametrize(
    ("bucket", "address"),
    [
        ("my-photos", f"https://my-photos.s3.{REGION}.amazonaws.com/a.jpg"),
        ("my.photos", f"https://s3.{REGION}.amazonaws.com/my.photos/a.jpg"),
    ],
)
def test_photos_are_asked_for_in_their_region(bucket, address):
    """Of the global endpoint new buckets are not known to; a name with dots fits no certificate as a host."""
    session = Session()
    session.set_credentials("test", "test")
    s3 = session.create_client("s3", REGION, config=S3_CONFIG)
    assert address == Signer(s3, session.get_credentials()).url(Source(bucket, "a.jpg")).split("?")[0]


@pytest.mark.parametrize("key", ["a.jpg", "2026/a b+c%20.jpg", "-", "~/ä?&=#.jpg", "a//b'(!*).jpg"])
@pytest.mark.parametrize("version", [None, "3/L4kq+t="])
def test_urls_are_those_of_botocore(monkeypatch, key, version):
    """Signature and all, of a temporary right; its own method is only slower."""
    monkeypatch.setattr("botocore.auth.get_current_datetime", lambda: datetime(2026, 11, 21, tzinfo=UTC))
    session = Session()
    session.set_credentials("test", "test", "token/+=")
    s3 = session.create_client("s3", REGION, config=S3_CONFIG)
    names = {"Bucket": PHOTOS, "Key": key} | ({"VersionId": version} if version else {})
    theirs = s3.generate_presigned_url("get_object", Params=names, ExpiresIn=URL_SECONDS)
    ours = Signer(s3, session.get_credentials()).url(Source(PHOTOS, key, version))
    assert [part(theirs) for part in (address_of, query_of)] == [part(ours) for part in (address_of, query_of)]


def test_amazon_is_known_by_the_certificates_that_ship(scorer):
    """The image has no others."""
    pool = scorer.reader.http.connection_from_url("https://s3.amazonaws.com")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(pool.ca_certs)
    assert len(context.get_ca_certs()) > 100


def test_no_redirection_is_followed(aws, scorer, encode):
    """A signature is one host's; to which other it leads is in nobody's message."""
    aws.put("a.jpg", encode("red"))
    aws.moved["old.jpg"] = f"/{PHOTOS}/a.jpg"
    with pytest.raises(StorageRefused, match="S3 answered 307"):
        scorer.reader.fetch(Source(PHOTOS, "old.jpg"))


def test_one_line_is_logged_for_a_message(aws, scorer, encode):
    """What its photos came to, and no names."""
    for key, colour in {"a.jpg": "red", "b.jpg": "blue", "c.jpg": "grey"}.items():
        aws.put(key, encode(colour))
    scorer.score(manifest("a.jpg", "b.jpg", "c.jpg", "never.jpg"))
    [line] = logged(scorer)
    assert ("batch", 4, 1, {"missing": 1}) == (line["message"], line["photos"], line["unknown"], line["errors"])
    assert 3 == sum(line["predicted"].values())
    assert ".jpg" not in str(line)


def test_failures_never_fail_the_whole_batch():
    """Powertools would raise where the only message failed, and Lambda would count an error of the function."""
    assert not processor.raise_on_entire_batch_failure


def test_where_results_go_has_no_default():
    """The error names the variable."""
    with pytest.raises(SettingsError, match="RESULTS_BUCKET"):
        BatchSettings.from_env({"RESULTS_PREFIX": PREFIX})
