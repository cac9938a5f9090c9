"""Dead letters, messages that failed too often: their photos are tried once more, each alone, and then given up."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote_plus

from infra.score.listing import Place
from infra.score.queue import requests, send

# The reason of such a photo, and the folder of its line: which model would have refused it, nobody knows.
GAVE_UP = "gave_up"
WAIT_S = 5  # asked at once, SQS overlooks messages
Letter = dict[str, Any]
Photo = tuple[str, str, str | None]  # bucket, key, version


@dataclass(frozen=True)
class Handled:
    """What became of a letter: nothing, where it names no photo."""

    job: str = ""
    retried: int = 0
    gave_up: int = 0


def handle(s3: Any, sqs: Any, queue: str, dead: str, results: Place) -> Iterator[Handled]:
    """Yields once a letter is dealt with and deleted. Raises QueueRefused."""
    while found := sqs.receive_message(QueueUrl=dead, MaxNumberOfMessages=10, WaitTimeSeconds=WAIT_S).get("Messages"):
        for message in found:
            try:
                photos = _read(message["Body"])
            except (ValueError, TypeError, AttributeError, KeyError):  # nobody's, as lambda_app/batch/objects.py found
                photos = []
            handled = _handle(s3, sqs, queue, results, photos)
            sqs.delete_message(QueueUrl=dead, ReceiptHandle=message["ReceiptHandle"])
            yield handled


def _handle(s3: Any, sqs: Any, queue: str, results: Place, photos: list[tuple[Letter, str, Photo]]) -> Handled:
    if not photos:
        return Handled()
    letter, job, photo = photos[0]
    if letter.get("alone"):
        _give_up(s3, results, job, photo)
        return Handled(job, gave_up=1)
    bodies = [json.dumps(letter | {"alone": True}, ensure_ascii=False) for letter, _, _ in photos]
    for request in requests(([], body) for body in bodies):
        send(sqs, queue, [body for _, body in request])
    return Handled(job, retried=len(bodies))


def _read(body: str) -> list[tuple[Letter, str, Photo]]:
    """For each photo: the letter with it alone, its job, and what it is."""
    letter = json.loads(body)
    if "Records" in letter:  # a notification of S3
        return [(letter | {"Records": [record]}, "notified", _notified(record["s3"])) for record in letter["Records"]]
    job, bucket = letter["job"], letter["bucket"]
    return [(letter | {"keys": [key]}, job, (bucket, key, None)) for key in letter["keys"]]


def _notified(s3: dict[str, Any]) -> Photo:
    return s3["bucket"]["name"], unquote_plus(s3["object"]["key"]), s3["object"].get("versionId")


def _give_up(s3: Any, results: Place, job: str, photo: Photo) -> None:
    """Its line, named and begun as lambda_app/batch/handler.py would."""
    line = dict(zip(("bucket", "key", "version"), photo, strict=True)) | {
        "etag": None,
        "model_version": None,
        "error_code": GAVE_UP,
        "error_message": "it failed in company and alone, each time as often as its queue allows",
    }
    name = hashlib.sha256(json.dumps([photo]).encode()).hexdigest()
    body = f"{json.dumps(line, ensure_ascii=False)}\n".encode()
    s3.put_object(Bucket=results.bucket, Key=f"{results.key}{job}/{GAVE_UP}/{name}.jsonl", Body=body)
