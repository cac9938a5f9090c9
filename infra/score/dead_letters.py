"""Send each photo of a dead letter again, in a message of its own.

If that message also becomes a dead letter, write an error row.
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote_plus

from infra.score.listing import S3Path
from infra.score.queue import pack_requests, send_messages

# The error code of photos that are given up; also the folder of their results, in place of the unknown model version.
GAVE_UP = "gave_up"
WAIT_S = 5  # a receive request without a wait may miss messages
Message = dict[str, Any]
Source = tuple[str, str, str | None]  # bucket, key, version


@dataclass(frozen=True)
class Outcome:
    """The number of photos of a dead letter that were retried or given up; 0 if the message names no photo."""

    job: str = ""
    retried: int = 0
    gave_up: int = 0


def process_dead_letters(s3: Any, sqs: Any, queue: str, dead_letters: str, results: S3Path) -> Iterator[Outcome]:
    """Yield the outcome of each dead letter after it has been deleted. Raise `QueueRefused`."""
    options = {"MaxNumberOfMessages": 10, "WaitTimeSeconds": WAIT_S}
    while messages := sqs.receive_message(QueueUrl=dead_letters, **options).get("Messages"):
        for message in messages:
            try:
                parts = _split(message["Body"])
            except (ValueError, TypeError, AttributeError, KeyError):
                parts = []  # lambda_app/batch/objects.py rejects these messages, too
            outcome = _process(s3, sqs, queue, results, parts)
            sqs.delete_message(QueueUrl=dead_letters, ReceiptHandle=message["ReceiptHandle"])
            yield outcome


def _process(s3: Any, sqs: Any, queue: str, results: S3Path, parts: list[tuple[Message, str, Source]]) -> Outcome:
    if not parts:
        return Outcome()
    message, job, source = parts[0]
    if message.get("alone"):
        _give_up(s3, results, job, source)
        return Outcome(job, gave_up=1)
    bodies = [json.dumps(message | {"alone": True}, ensure_ascii=False) for message, _, _ in parts]
    for request in pack_requests(([], body) for body in bodies):
        send_messages(sqs, queue, [body for _, body in request])
    return Outcome(job, retried=len(bodies))


def _split(body: str) -> list[tuple[Message, str, Source]]:
    """Return a message, the job and the source for each photo of a message."""
    message = json.loads(body)
    if "Records" in message:  # a notification from S3
        records = message["Records"]
        return [(message | {"Records": [record]}, "notified", _source(record["s3"])) for record in records]
    job, bucket = message["job"], message["bucket"]
    return [(message | {"keys": [key]}, job, (bucket, key, None)) for key in message["keys"]]


def _source(s3: dict[str, Any]) -> Source:
    return s3["bucket"]["name"], unquote_plus(s3["object"]["key"]), s3["object"].get("versionId")


def _give_up(s3: Any, results: S3Path, job: str, source: Source) -> None:
    """Write an error row. Its object has the name that lambda_app/batch/handler.py gives to a message of this photo."""
    row = dict(zip(("bucket", "key", "version"), source, strict=True)) | {
        "etag": None,
        "model_version": None,
        "error_code": GAVE_UP,
        "error_message": "its message reached the queue's limit of attempts twice, the second time with no other photo",
    }
    name = hashlib.sha256(json.dumps([source]).encode()).hexdigest()
    body = f"{json.dumps(row, ensure_ascii=False)}\n".encode()
    s3.put_object(Bucket=results.bucket, Key=f"{results.key}{job}/{GAVE_UP}/{name}.jsonl", Body=body)
