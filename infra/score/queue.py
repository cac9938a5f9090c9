"""Send the keys of photos to the queue, many per message, and count the messages in it."""

import json
import time
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

# A message costs an invocation, two requests to SQS and one result object: as much as the CPU time of 11 photos. A
# message of 100 photos takes two seconds; larger messages repeat more work after a failure (infra/score/README.md).
PHOTOS_PER_MESSAGE = 100
MAX_MESSAGES, MAX_BYTES = 10, 900_000  # per request; SQS accepts 1 MiB
PAUSES_S = (0.2, 0.4, 0.8, 1.6, 3.2)  # between the attempts to send a message
COUNTS = ("ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible", "ApproximateNumberOfMessagesDelayed")


class QueueRefused(Exception):
    """SQS refused a message, or the queue lacks a dead-letter queue."""


def enqueue(sqs: Any, queue: str, job: str, bucket: str, photos: Iterable[str]) -> Iterator[list[str]]:
    """Send all keys, and yield those of each request after SQS has accepted them. Raise `QueueRefused`."""
    remaining = iter(photos)
    chunks = iter(lambda: list(islice(remaining, PHOTOS_PER_MESSAGE)), [])
    messages = ((keys, format_message(job, bucket, keys)) for keys in chunks)
    for request in pack_requests(messages):
        send_messages(sqs, queue, [body for _, body in request])
        yield [key for keys, _ in request for key in keys]


def format_message(job: str, bucket: str, keys: list[str]) -> str:
    """Return the body of a message, which lambda_app/batch/objects.py parses."""
    return json.dumps({"job": job, "bucket": bucket, "keys": keys}, ensure_ascii=False)


def pack_requests(messages: Iterable[tuple[list[str], str]]) -> Iterator[list[tuple[list[str], str]]]:
    """Group messages, each its keys and its body, into requests within SQS's limits."""
    request: list[tuple[list[str], str]] = []
    for keys, body in messages:
        size = sum(len(other.encode()) for _, other in request)
        if request and (len(request) == MAX_MESSAGES or size + len(body.encode()) > MAX_BYTES):
            yield request
            request = []
        request.append((keys, body))
    if request:
        yield request


def send_messages(sqs: Any, queue: str, bodies: list[str]) -> None:
    """Send one request, and retry the messages that SQS refuses temporarily. Raise `QueueRefused`."""
    entries = [{"Id": str(index), "MessageBody": body} for index, body in enumerate(bodies)]
    for pause in (*PAUSES_S, None):
        failed = sqs.send_message_batch(QueueUrl=queue, Entries=entries).get("Failed", [])
        if not failed:
            return
        if pause is None or any(each["SenderFault"] for each in failed):
            break
        failed_ids = {each["Id"] for each in failed}
        entries = [entry for entry in entries if entry["Id"] in failed_ids]
        time.sleep(pause)
    raise QueueRefused(f"{queue} refused {len(failed)} of {len(bodies)} messages: {failed[0].get('Message', '')}")


def count_messages(sqs: Any, queue: str) -> int:
    """Return the approximate number of messages that are waiting or in flight."""
    attributes = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=list(COUNTS))["Attributes"]
    return sum(int(value) for value in attributes.values())


def dead_letter_queue(sqs: Any, queue: str) -> str:
    """Return the URL of the queue's dead-letter queue. Raise `QueueRefused` if it has none."""
    policy = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["RedrivePolicy"]).get("Attributes", {})
    if "RedrivePolicy" not in policy:
        raise QueueRefused(f"{queue} has no dead-letter queue; expected the queue of template.yaml")
    name = json.loads(policy["RedrivePolicy"])["deadLetterTargetArn"].rpartition(":")[2]
    return str(sqs.get_queue_url(QueueName=name)["QueueUrl"])
