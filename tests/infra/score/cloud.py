"""S3 and SQS as moto has them, over HTTP, with faults between; and what was put there and came back."""

import json
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx2
from botocore.session import Session
from moto.core import DEFAULT_ACCOUNT_ID
from moto.moto_server.werkzeug_app import DomainDispatcherApplication
from moto.s3.models import s3_backends
from moto.server import ThreadedMotoServer

PHOTOS, RESULTS = "photos-of-the-test", "results-of-the-test"
REGION = "eu-central-1"
SLOW_DOWN = b"<Error><Code>SlowDown</Code></Error>"


@dataclass
class Cloud:
    endpoint: str
    environment: dict[str, str]
    s3: Any
    sqs: Any
    visibility_s: int
    queue: str = ""
    dead: str = ""
    photo_read: threading.Event = field(default_factory=threading.Event)  # set by each GET of a photo
    moved: dict[str, str] = field(default_factory=dict)  # end of the path: whereto a redirection leads
    cuts: dict[str, int] = field(default_factory=dict)  # end of the path: how often an answer ends amid its body
    faults: dict[tuple[str, str], int] = field(default_factory=dict)  # method and end of the path: how often 503 comes

    def put(self, key: str, data: bytes, bucket: str = PHOTOS) -> None:
        """Straight into moto's store: by HTTP, 2,000 photos would take 15 s."""
        s3_backends[DEFAULT_ACCOUNT_ID]["aws"].put_object(bucket, key, data)

    def empty(self) -> None:
        """As if nothing had been put there."""
        for bucket in (PHOTOS, RESULTS):
            s3_backends[DEFAULT_ACCOUNT_ID]["aws"].buckets[bucket].keys.clear()
        self.queue, self.dead = queues(self.sqs, self.visibility_s)
        self.faults.clear()
        self.moved.clear()
        self.cuts.clear()
        self.photo_read.clear()

    def results(self) -> dict[str, list[dict[str, Any]]]:
        """The lines of each object."""
        listed = self.s3.list_objects_v2(Bucket=RESULTS).get("Contents", [])
        bodies = {each["Key"]: self.s3.get_object(Bucket=RESULTS, Key=each["Key"])["Body"].read() for each in listed}
        return {key: [json.loads(line) for line in body.splitlines()] for key, body in bodies.items()}

    def messages(self, queue: str) -> list[str]:
        """That wait in a queue; they are taken out of it."""
        found = self.sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10).get("Messages", [])
        return [message["Body"] for message in found]


@contextmanager
def cloud(visibility_s: int = 30) -> Iterator[Cloud]:
    """Two buckets; `empty` adds a queue with its dead letters."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    endpoint = f"http://{host}:{port}"
    httpx2.post(f"{endpoint}/moto-api/reset", trust_env=False)  # moto's servers of one process share what was created
    keys = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
    session = Session()
    session.set_credentials(*keys.values())
    s3, sqs = (session.create_client(name, REGION, endpoint_url=endpoint) for name in ("s3", "sqs"))
    for bucket in (PHOTOS, RESULTS):
        s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": REGION})
    environment = keys | {"AWS_ENDPOINT_URL": endpoint, "AWS_DEFAULT_REGION": REGION, "NO_PROXY": host}
    made = Cloud(endpoint, environment, s3, sqs, visibility_s)
    server._server.app = faulty(server._server.app, made)
    try:
        yield made
    finally:
        server.stop()


def queues(sqs: Any, visibility_s: int) -> tuple[str, str]:
    """New ones, for SQS empties a queue but once a minute; as in template.yaml."""
    name = f"photos-{uuid.uuid4()}"
    dead = sqs.create_queue(QueueName=f"{name}-dead")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=dead, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    redrive = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": 5})
    attributes = {"VisibilityTimeout": str(visibility_s), "RedrivePolicy": redrive}
    return sqs.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"], dead


def faulty(app: DomainDispatcherApplication, made: Cloud) -> Any:
    """In S3's place answers 503 as often as `faults` says, redirects what `moved` names, breaks off as `cuts` says."""

    def answer(environ: dict[str, Any], start_response: Any) -> Any:
        asked, name = environ["REQUEST_METHOD"], environ["PATH_INFO"]
        if asked == "GET" and name.endswith(".jpg"):
            made.photo_read.set()
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
                return [b"".join(app(environ, start_response))[:-1]]
        return app(environ, start_response)

    return answer
