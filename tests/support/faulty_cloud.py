"""Replace S3 and SQS with moto's server, over HTTP, with injected faults."""

import json
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from unittest.mock import patch

from botocore.session import Session
from moto.core import DEFAULT_ACCOUNT_ID
from moto.moto_server.werkzeug_app import DomainDispatcherApplication
from moto.s3.models import s3_backends

from tests.support.moto import empty_account
from tests.support.sam import REGION
from tests.support.waiting import DEADLINE_S

PHOTOS, RESULTS = "photos-of-the-test", "results-of-the-test"
SLOW_DOWN = b"<Error><Code>SlowDown</Code></Error>"
# Longer than any test: a received message is delivered again only if a test makes it visible.
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
    redirects: dict[str, str] = field(default_factory=dict)  # suffix of the path: target of a redirect
    cuts: dict[str, int] = field(default_factory=dict)  # suffix of the path: number of responses to cut short
    faults: dict[tuple[str, str], int] = field(default_factory=dict)  # method and suffix: number of 503s

    def put(self, key: str, data: bytes, bucket: str = PHOTOS, *, written: datetime | None = None) -> None:
        """Write to moto's store directly: over HTTP, 2,000 photos would take 15 s."""
        stored = s3_backends[DEFAULT_ACCOUNT_ID]["aws"].put_object(bucket, key, data)
        stored.last_modified = written or stored.last_modified

    def empty(self) -> None:
        """Delete all objects, create new queues, and reset the faults."""
        for bucket in (PHOTOS, RESULTS):
            s3_backends[DEFAULT_ACCOUNT_ID]["aws"].buckets[bucket].keys.clear()
        self.queue, self.dead = queues(self.sqs)
        self.faults.clear()
        self.redirects.clear()
        self.cuts.clear()
        self.photo_read.clear()
        self.photos_flow.set()

    def results(self) -> dict[str, list[dict[str, Any]]]:
        """Return the parsed lines of each result object by its key."""
        listed = self.s3.list_objects_v2(Bucket=RESULTS).get("Contents", [])
        bodies = {each["Key"]: self.s3.get_object(Bucket=RESULTS, Key=each["Key"])["Body"].read() for each in listed}
        return {key: [json.loads(line) for line in body.splitlines()] for key, body in bodies.items()}

    def messages(self, queue: str) -> list[str]:
        """Receive up to ten messages from a queue, and return their bodies."""
        messages = self.sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10).get("Messages", [])
        return [message["Body"] for message in messages]

    def make_visible(self, receipt: str) -> None:
        """Make the message available again, as if its visibility timeout had expired."""
        self.sqs.change_message_visibility(QueueUrl=self.queue, ReceiptHandle=receipt, VisibilityTimeout=0)


@contextmanager
def cloud(moto: dict[str, str]) -> Iterator[Cloud]:
    """Create two buckets on moto's server, in an empty account. `empty` creates the queues."""
    environment = moto | {"AWS_DEFAULT_REGION": REGION}
    endpoint = moto["AWS_ENDPOINT_URL"]
    empty_account(endpoint)
    session = Session()
    session.set_credentials(moto["AWS_ACCESS_KEY_ID"], moto["AWS_SECRET_ACCESS_KEY"])
    s3, sqs = (session.create_client(name, REGION, endpoint_url=endpoint) for name in ("s3", "sqs"))
    faulty_cloud = Cloud(endpoint, environment, s3, sqs)
    call = with_faults(DomainDispatcherApplication.__call__, faulty_cloud)
    with patch.object(DomainDispatcherApplication, "__call__", call):
        for bucket in (PHOTOS, RESULTS):
            s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": REGION})
        yield faulty_cloud
        faulty_cloud.photos_flow.set()


def queues(sqs: Any) -> tuple[str, str]:
    """Create a queue and its dead-letter queue, as in template.yaml. SQS purges a queue only once a minute."""
    name = f"photos-{uuid.uuid4()}"
    dead = sqs.create_queue(QueueName=f"{name}-dead")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=dead, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    redrive = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": 5})
    attributes = {"VisibilityTimeout": str(VISIBILITY_S), "RedrivePolicy": redrive}
    return sqs.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"], dead


def with_faults(call: Any, cloud: Cloud) -> Any:
    """Wrap moto's WSGI application: answer 503, redirect or cut a response short as the fields of `cloud` state."""

    def answer(app: DomainDispatcherApplication, environ: dict[str, Any], start_response: Any) -> Any:
        method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
        if method == "GET" and path.endswith(".jpg"):
            cloud.photo_read.set()
            cloud.photos_flow.wait()
        for (faulty_method, suffix), count in cloud.faults.items():
            if count and method == faulty_method and path.endswith(suffix):
                cloud.faults[faulty_method, suffix] -= 1
                start_response("503 Slow Down", [("content-length", str(len(SLOW_DOWN)))])
                return [SLOW_DOWN]
        for suffix, target in cloud.redirects.items():
            if path.endswith(suffix):
                start_response("307 Temporary Redirect", [("location", target), ("content-length", "0")])
                return []
        for suffix, count in cloud.cuts.items():
            if count and method == "GET" and path.endswith(suffix):
                cloud.cuts[suffix] -= 1
                return [b"".join(call(app, environ, start_response))[:-1]]
        return call(app, environ, start_response)

    return answer


def drop(cloud: Cloud, name: str = "") -> None:
    """Move the first message that contains the name to the dead letters, as SQS does after the fifth failure."""
    match, others = None, []
    while not match:
        for message in cloud.sqs.receive_message(QueueUrl=cloud.queue, WaitTimeSeconds=1).get("Messages", []):
            if name in message["Body"]:
                match = message
            else:
                others.append(message["ReceiptHandle"])
    cloud.sqs.send_message(QueueUrl=cloud.dead, MessageBody=match["Body"])
    cloud.sqs.delete_message(QueueUrl=cloud.queue, ReceiptHandle=match["ReceiptHandle"])
    for receipt in others:
        cloud.make_visible(receipt)


@contextmanager
def dropping(cloud: Cloud) -> Iterator[None]:
    """Move the first message to the dead letters as soon as it arrives."""
    thread = threading.Thread(target=drop, args=(cloud,), daemon=True)
    thread.start()
    yield
    thread.join(DEADLINE_S)
    assert not thread.is_alive(), "no message came"
