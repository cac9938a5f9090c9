"""Parse the message, and fetch the photos in S3 that it names."""

import hashlib
import json
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import astuple, dataclass
from typing import Any
from urllib.parse import quote, unquote_plus

import urllib3
from botocore.auth import S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from pydantic import BaseModel, Field
from urllib3.exceptions import ProtocolError, ReadTimeoutError

# S3 takes 20 to 50 ms to first byte; classifying a photo takes 8 ms. With this many requests in flight, the classifier
# never waits, and at most twice as many photos are in memory.
FETCHERS = 8
PREFETCHED = 2 * FETCHERS
URL_SECONDS = 300  # longer than all attempts at one photo take
RETRIES = urllib3.Retry(
    4, status_forcelist=(429, 500, 502, 503, 504), backoff_factor=0.2, backoff_jitter=0.2, raise_on_status=False
)
BODY_ATTEMPTS = 3  # urllib3 does not retry a response that breaks off after its first byte
# Permanent errors of a photo. All other errors of S3 may be temporary.
PERMANENT_ERRORS = {
    "NoSuchKey": ("missing", "S3 has no object with this key"),
    "NoSuchVersion": ("missing", "S3 has no such version of the object"),
    "MethodNotAllowed": ("missing", "this version of the object is a delete marker"),
    "InvalidObjectState": (
        "archived",
        "the object is archived; expected a storage class with immediate access",
    ),
}


# urllib3 removes these segments from a URL (RFC 3986, section 5.2.4), which then names another object.
DOT_SEGMENTS = {".", ".."}
BAD_KEY = ("bad_key", "the key has a segment '.' or '..'; copy the object to a key without such segments")


class MalformedMessage(ValueError):
    """The message is neither a notification from S3 nor a message from infra/score."""


class StorageRefused(Exception):
    """S3 answered with an error that may be temporary."""


@dataclass(frozen=True)
class Source:
    bucket: str
    key: str
    version: str | None = None  # None is the newest


@dataclass(frozen=True)
class Message:
    job: str  # the folder of its results
    sources: tuple[Source, ...]

    def digest(self) -> str:
        """Return a hash of the photos in their order, the same for every message that names them."""
        return hashlib.sha256(json.dumps([astuple(source) for source in self.sources]).encode()).hexdigest()


@dataclass(frozen=True)
class Fetched:
    source: Source
    data: bytes = b""
    etag: str | None = None
    error: tuple[str, str] | None = None  # code and message of a permanent error


class Manifest(BaseModel):
    """A message from infra/score, which names many photos."""

    job: str = Field(pattern=r"^[\w-]+$")
    bucket: str
    keys: list[str]


def read_message(body: str) -> Message:
    """Parse the body of an SQS message. Raise `MalformedMessage`, which does not quote the message."""
    try:
        message = json.loads(body)
        if "Records" in message:
            return Message("notified", tuple(_read_notification(message["Records"])))
        if message.get("Event") == "s3:TestEvent":  # S3 sends this once when notifications are configured
            return Message("notified", ())
        manifest = Manifest.model_validate(message)
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        expected = "expected a notification from S3, or JSON with job, bucket and keys"
        raise MalformedMessage(f"a message of {len(body)} characters cannot be parsed; {expected}") from error
    return Message(manifest.job, tuple(Source(manifest.bucket, key) for key in manifest.keys))


def _read_notification(records: Sequence[dict[str, Any]]) -> Iterator[Source]:
    """Yield the created objects, without folders.

    https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html
    """
    for record in records:
        if record["eventName"].startswith("ObjectCreated:"):
            s3_object = record["s3"]["object"]
            key = unquote_plus(s3_object["key"])
            if not key.endswith("/"):
                yield Source(record["s3"]["bucket"]["name"], key, s3_object.get("versionId"))


class Signer:
    """Sign URLs of photos.

    Resolves each bucket's endpoint once. S3's client resolves it for each URL, which takes 0.9 ms of a photo's 10 ms.
    """

    def __init__(self, s3: Any, credentials: Any) -> None:
        self.s3, self.credentials = s3, credentials
        self.endpoints: dict[str, str] = {}  # by bucket

    def sign(self, source: Source) -> str:
        version = f"?versionId={quote(source.version, safe='')}" if source.version else ""
        request = AWSRequest("GET", f"{self._endpoint(source.bucket)}{quote(source.key, safe='/')}{version}")
        credentials = self.credentials.get_frozen_credentials()
        S3SigV4QueryAuth(credentials, "s3", self.s3.meta.region_name, expires=URL_SECONDS).add_auth(request)
        return str(request.url)

    def _endpoint(self, bucket: str) -> str:
        if bucket not in self.endpoints:
            url = self.s3.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "-"})
            self.endpoints[bucket] = url.partition("?")[0].removesuffix("-")
        return self.endpoints[bucket]


class Reader:
    """Fetch photos by signed URLs. botocore's `get_object` takes 2.4 ms of CPU time per photo."""

    def __init__(self, sign: Callable[[Source], str], max_bytes: int, ca_certs: str) -> None:
        self.sign, self.max_bytes = sign, max_bytes
        self.http = urllib3.PoolManager(
            maxsize=FETCHERS,
            retries=RETRIES,
            timeout=urllib3.Timeout(3, 10),
            ca_certs=ca_certs,
        )

    def fetch(self, source: Source) -> Fetched:
        """Return the photo or a permanent error. Raise `StorageRefused` or urllib3's `HTTPError` for temporary ones."""
        if DOT_SEGMENTS & set(source.key.split("/")):
            return Fetched(source, error=BAD_KEY)
        for _ in range(BODY_ATTEMPTS - 1):
            with suppress(ProtocolError, ReadTimeoutError):
                return self._fetch(source)
        return self._fetch(source)

    def _fetch(self, source: Source) -> Fetched:
        response = self.http.request("GET", self.sign(source), preload_content=False, redirect=False)
        try:
            if response.status != 200:
                return Fetched(source, error=_permanent_error(response.status, response.read()))
            etag, size = response.headers["etag"].strip('"'), int(response.headers["content-length"])
            if size > self.max_bytes:
                message = f"the photo has {size} bytes; at most {self.max_bytes} are accepted"
                return Fetched(source, etag=etag, error=("too_large", message))
            return Fetched(source, response.read(), etag)
        finally:
            response.close() if response.length_remaining else response.release_conn()


def _permanent_error(status: int, body: bytes) -> tuple[str, str]:
    code = body.partition(b"<Code>")[2].partition(b"</Code>")[0].decode()
    if code not in PERMANENT_ERRORS:
        raise StorageRefused(f"S3 answered {status} {code}")
    return PERMANENT_ERRORS[code]


def prefetch(fetch: Callable[[Source], Fetched], sources: Sequence[Source]) -> Iterator[Fetched]:
    """Yield the photos in order, and fetch the next ones meanwhile."""
    with ThreadPoolExecutor(FETCHERS) as threads:
        pending: deque[Future[Fetched]] = deque()
        for source in sources:
            pending.append(threads.submit(fetch, source))
            if len(pending) == PREFETCHED:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
