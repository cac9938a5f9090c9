"""S3 and SQS as moto has them, over HTTP, with faults between; and what was put there and came back."""

import json
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from unittest.mock import patch
from urllib.parse import urlsplit

import httpx2
from botocore.session import Session
from moto.core import DEFAULT_ACCOUNT_ID
from moto.moto_server.werkzeug_app import DomainDispatcherApplication
from moto.s3.models import s3_backends

PHOTOS, RESULTS = "photos-of-the-test", "results-of-the-test"
REGION = "eu-central-1"
SLOW_DOWN = b"<Error><Code>SlowDown</Code></Error>"
# Longer than any test takes: a message that a consumer received comes again only where a test makes it visible.
VISIBILITY_S = 600


@dataclass
class Cloud:
    endpoint: str
    environment: dict[str, str]
    s3: Any
    sqs: Any
    queue: str = ""
    dead: str = ""
    photo_read: threading.Event = field(default_factory=threading.Event)  # set by each GET of a photo
    photos_flow: threading.Event = field(default_factory=threading.Event)  # a GET of a photo waits until this is set
    moved: dict[str, str] = field(default_factory=dict)  # end of the path: whereto a redirection leads
    cuts: dict[str, int] = field(default_factory=dict)  # end of the path: how often an answer ends amid its body
    faults: dict[tuple[str, str], int] = field(default_factory=dict)  # method and end of the path: how often 503 comes

    def put(self, key: str, data: bytes, bucket: str = PHOTOS, *, written: datetime | None = None) -> None:
        """Straight into moto's store: by HTTP, 2,000 photos would take 15 s."""
        stored = s3_backends[DEFAULT_ACCOUNT_ID]["aws"].put_object(bucket, key, data)
        stored.last_modified = written or stored.last_modified

    def empty(self) -> None:
        """As if nothing had been put there."""
        for bucket in (PHOTOS, RESULTS):
            s3_backends[DEFAULT_ACCOUNT_ID]["aws"].buckets[bucket].keys.clear()
        self.queue, self.dead = queues(self.sqs)
        self.faults.clear()
        self.moved.clear()
        self.cuts.clear()
        self.photo_read.clear()
        self.photos_flow.set()

    def results(self) -> dict[str, list[dict[str, Any]]]:
        """The lines of each object."""
        listed = self.s3.list_objects_v2(Bucket=RESULTS).get("Contents", [])
        bodies = {each["Key"]: self.s3.get_object(Bucket=RESULTS, Key=each["Key"])["Body"].read() for each in listed}
        return {key: [json.loads(line) for line in body.splitlines()] for key, body in bodies.items()}

    def messages(self, queue: str) -> list[str]:
        """That wait in a queue; they are taken out of it."""
        found = self.sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10).get("Messages", [])
        return [message["Body"] for message in found]

    def make_visible(self, receipt: str) -> None:
        """Let the message come again, as if its visibility timeout had passed."""
        self.sqs.change_message_visibility(QueueUrl=self.queue, ReceiptHandle=receipt, VisibilityTimeout=0)


@contextmanager
def cloud(endpoint: str) -> Iterator[Cloud]:
    """Two buckets on moto's server, in an empty account; `empty` adds a queue with its dead letters."""
    httpx2.post(f"{endpoint}/moto-api/reset", trust_env=False).raise_for_status()
    keys = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
    session = Session()
    session.set_credentials(*keys.values())
    s3, sqs = (session.create_client(name, REGION, endpoint_url=endpoint) for name in ("s3", "sqs"))
    host = str(urlsplit(endpoint).hostname)
    environment = keys | {"AWS_ENDPOINT_URL": endpoint, "AWS_DEFAULT_REGION": REGION, "NO_PROXY": host}
    made = Cloud(endpoint, environment, s3, sqs)
    with patch.object(DomainDispatcherApplication, "__call__", faulty(DomainDispatcherApplication.__call__, made)):
        for bucket in (PHOTOS, RESULTS):
            s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": REGION})
        yield made
        made.photos_flow.set()


def queues(sqs: Any) -> tuple[str, str]:
    """New ones, for SQS empties a queue but once a minute; as in template.yaml."""
    name = f"photos-{uuid.uuid4()}"
    dead = sqs.create_queue(QueueName=f"{name}-dead")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=dead, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    redrive = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": 5})
    attributes = {"VisibilityTimeout": str(VISIBILITY_S), "RedrivePolicy": redrive}
    return sqs.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"], dead


def faulty(call: Any, made: Cloud) -> Any:
    """In S3's place answers 503 as often as `faults` says, redirects what `moved` names, breaks off as `cuts` says."""

    def answer(app: DomainDispatcherApplication, environ: dict[str, Any], start_response: Any) -> Any:
        asked, name = environ["REQUEST_METHOD"], environ["PATH_INFO"]
        if asked == "GET" and name.endswith(".jpg"):
            made.photo_read.set()
            made.photos_flow.wait()
        for (method, path), times in made.faults.items():
            if times and asked == method and name.endswith(path):
                made.faults[method, path] -= 1
                start_response("503 Slow Down", [("content-length", str(len(SLOW_DOWN)))])
                return [SLOW_DOWN]
        for path, place in made.moved.items():
            if name.endswith(path):
                start_response("307 Temporary Redirect", [("location", place), ("content-length", "0")])
                return []
        for path, times in made.cuts.items():
            if times and asked == "GET" and name.endswith(path):
                made.cuts[path] -= 1
                return [b"".join(call(app, environ, start_response))[:-1]]
        return call(app, environ, start_response)

    return answer
