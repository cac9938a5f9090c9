"""Test how the SQS handler reads messages, and signs the URLs of the photos that they name."""

from datetime import UTC, datetime

import pytest
from botocore.session import Session

from lambda_app.batch.handler import S3_CONFIG
from lambda_app.batch.objects import URL_SECONDS, MalformedMessage, Signer, Source, read_message
from tests.lambda_app.batch_messages import notification
from tests.support.faulty_cloud import PHOTOS
from tests.support.sam import REGION


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


@pytest.fixture(scope="module")
def session():
    """Return a session with temporary credentials, which reads the descriptions of S3 only once."""
    session = Session()
    session.set_credentials("test", "test", "token/+=")
    return session


def split(url):
    """Return the address and the sorted parameters of a URL."""
    address, _, query = url.partition("?")
    return address, sorted(query.split("&"))


@pytest.mark.parametrize(
    ("bucket", "address"),
    [
        ("my-photos", f"https://my-photos.s3.{REGION}.amazonaws.com/a.jpg"),
        ("my.photos", f"https://s3.{REGION}.amazonaws.com/my.photos/a.jpg"),
    ],
)
def test_signer_uses_the_regional_endpoint(session, bucket, address):
    """The URL names the region; a bucket with dots is in its path, because S3's certificate covers no further dots."""
    s3 = session.create_client("s3", REGION, config=S3_CONFIG)
    assert address == split(Signer(s3, session.get_credentials()).sign(Source(bucket, "a.jpg")))[0]


@pytest.mark.parametrize("key", ["a.jpg", "2026/a b+c%20.jpg", "-", "~/ä?&=#.jpg", "a//b'(!*).jpg"])
@pytest.mark.parametrize("version", [None, "3/L4kq+t="])
def test_signer_returns_the_urls_of_botocore(session, monkeypatch, key, version):
    """The signatures are equal, for temporary credentials too; botocore's method is only slower."""
    monkeypatch.setattr("botocore.auth.get_current_datetime", lambda: datetime(2026, 11, 21, tzinfo=UTC))
    s3 = session.create_client("s3", REGION, config=S3_CONFIG)
    parameters = {"Bucket": PHOTOS, "Key": key} | ({"VersionId": version} if version else {})
    expected = s3.generate_presigned_url("get_object", Params=parameters, ExpiresIn=URL_SECONDS)
    assert split(expected) == split(Signer(s3, session.get_credentials()).sign(Source(PHOTOS, key, version)))
