"""The batch's photos as AWS knows them: which ones a message of the queue names, and what S3 has under these names."""

import hashlib
import json
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import astuple, dataclass
from typing import Any
from urllib.parse import unquote_plus

import urllib3
from pydantic import BaseModel, Field
from urllib3.exceptions import ProtocolError, ReadTimeoutError

# S3 takes 20 to 50 ms to begin to answer, a photo 8 ms to classify: so many requests are under way that none is waited
# for, and no more photos are held than that many again.
FETCHERS = 8
AHEAD = 2 * FETCHERS
URL_SECONDS = 300  # longer than all attempts at one photo take
ATTEMPTS = urllib3.Retry(
    4, status_forcelist=(429, 500, 502, 503, 504), backoff_factor=0.2, backoff_jitter=0.2, raise_on_status=False
)
BODIES = 3  # attempts at what breaks off amid a photo: urllib3 repeats only what comes before its first byte
# Of a photo, not of AWS: S3 will never give it, however often it is asked. Any other refusal may end.
REASONS = {
    "NoSuchKey": ("missing", "S3 has no object of this name"),
    "NoSuchVersion": ("missing", "S3 has no such version of the object"),
    "MethodNotAllowed": ("missing", "this version of the object says that it was deleted"),
    "InvalidObjectState": (
        "archived",
        "the object is in an archive; expected a storage class that can be read at once",
    ),
}


# urllib3 removes such segments from a URL (RFC 3986, section 5.2.4), which then names another object.
DOTS = {".", ".."}
DOT_SEGMENT = ("bad_key", "the key has a segment '.' or '..'; expected a key without: copy the object to another one")


class MalformedMessage(ValueError):
    """Neither S3 nor infra/score_s3.py writes such a message."""


class StorageRefused(Exception):
    """S3 did not give what it may give another time."""


@dataclass(frozen=True)
class Source:
    bucket: str
    key: str
    version: str | None = None  # None is the newest


@dataclass(frozen=True)
class Message:
    job: str  # the folder of its results
    sources: tuple[Source, ...]

    def name(self) -> str:
        """The same for the same photos in the same order, whoever names them."""
        return hashlib.sha256(json.dumps([astuple(source) for source in self.sources]).encode()).hexdigest()


@dataclass(frozen=True)
class Fetched:
    source: Source
    data: bytes = b""
    etag: str | None = None
    error: tuple[str, str] | None = None  # code and message, where there is no data


class Manifest(BaseModel):
    """What infra/score_s3.py sends: many photos in one message."""

    job: str = Field(pattern=r"^[\w-]+$")
    bucket: str
    keys: list[str]


def read_message(body: str) -> Message:
    """Raises MalformedMessage, which does not quote the message."""
    try:
        message = json.loads(body)
        if "Records" in message:
            return Message("notified", tuple(_notified(message["Records"])))
        if message.get("Event") == "s3:TestEvent":  # S3's first word, when somebody turns its notifications on
            return Message("notified", ())
        manifest = Manifest.model_validate(message)
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        text = "expected a notification of S3, or JSON with job, bucket and keys"
        raise MalformedMessage(f"a message of {len(body)} characters is not understood; {text}") from error
    return Message(manifest.job, tuple(Source(manifest.bucket, key) for key in manifest.keys))


def _notified(records: Sequence[dict[str, Any]]) -> Iterator[Source]:
    """https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html"""
    for record in records:
        if record["eventName"].startswith("ObjectCreated:"):
            object_ = record["s3"]["object"]
            key = unquote_plus(object_["key"])
            if not key.endswith("/"):  # a folder
                yield Source(record["s3"]["bucket"]["name"], key, object_.get("versionId"))


class Reader:
    """By signed URLs: botocore's own get_object takes 2.4 ms of CPU time a photo."""

    def __init__(self, signed: Callable[[Source], str], max_bytes: int, ca_certs: str) -> None:
        self.signed, self.max_bytes = signed, max_bytes
        self.http = urllib3.PoolManager(
            maxsize=FETCHERS,
            retries=ATTEMPTS,
            timeout=urllib3.Timeout(3, 10),
            ca_certs=ca_certs,
        )

    def fetch(self, source: Source) -> Fetched:
        """Raises StorageRefused or urllib3's HTTPError where another time may be better."""
        if DOTS & set(source.key.split("/")):
            return Fetched(source, error=DOT_SEGMENT)
        for _ in range(BODIES - 1):
            with suppress(ProtocolError, ReadTimeoutError):
                return self._fetch(source)
        return self._fetch(source)

    def _fetch(self, source: Source) -> Fetched:
        response = self.http.request("GET", self.signed(source), preload_content=False, redirect=False)
        try:
            if response.status != 200:
                return Fetched(source, error=_reason(response.status, response.read()))
            etag, size = response.headers["etag"].strip('"'), int(response.headers["content-length"])
            if size > self.max_bytes:
                text = f"the photo has {size} bytes; at most {self.max_bytes} are accepted"
                return Fetched(source, etag=etag, error=("too_large", text))
            return Fetched(source, response.read(), etag)
        finally:
            response.close() if response.length_remaining else response.release_conn()


def _reason(status: int, body: bytes) -> tuple[str, str]:
    code = body.partition(b"<Code>")[2].partition(b"</Code>")[0].decode()
    if code not in REASONS:
        raise StorageRefused(f"S3 answered {status} {code}")
    return REASONS[code]


def ahead(fetch: Callable[[Source], Fetched], sources: Sequence[Source]) -> Iterator[Fetched]:
    """In order, while the next ones are on their way."""
    with ThreadPoolExecutor(FETCHERS) as threads:
        waiting: deque[Future[Fetched]] = deque()
        for source in sources:
            waiting.append(threads.submit(fetch, source))
            if len(waiting) == AHEAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
