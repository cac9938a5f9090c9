"""The queue: photos are named to it, many in a message, and what is left in it is looked at."""

import json
import time
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

# A message costs an invocation, two requests to SQS and one object of results, as much as 17 photos' CPU time. With 100
# they take a second; with more of them, more is done again where something fails (infra/score/README.md).
PER_MESSAGE = 100
MESSAGES, MAX_BYTES = 10, 900_000  # of one request; SQS takes 1 MiB
ATTEMPTS = 6  # 0.2 to 6.4 s apart
WAITING = ("ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible", "ApproximateNumberOfMessagesDelayed")


class QueueRefused(Exception):
    """SQS did not take a message; the message says why."""


def groups(photos: Iterable[str]) -> Iterator[list[str]]:
    rest = iter(photos)
    return iter(lambda: list(islice(rest, PER_MESSAGE)), [])


def requests(bodies: Iterable[tuple[list[str], str]]) -> Iterator[list[tuple[list[str], str]]]:
    """So many as one request may hold."""
    request: list[tuple[list[str], str]] = []
    for keys, body in bodies:
        size = sum(len(other.encode()) for _, other in request)
        if request and (len(request) == MESSAGES or size + len(body.encode()) > MAX_BYTES):
            yield request
            request = []
        request.append((keys, body))
    if request:
        yield request


def enqueue(sqs: Any, queue: str, job: str, bucket: str, photos: Iterable[str]) -> Iterator[list[str]]:
    """Yields the keys of each request once SQS has them. Raises QueueRefused."""
    bodies = ((keys, body(job, bucket, keys)) for keys in groups(photos))
    for request in requests(bodies):
        send(sqs, queue, [text for _, text in request])
        yield [key for keys, _ in request for key in keys]


def body(job: str, bucket: str, keys: list[str]) -> str:
    """What lambda_app/batch/objects.py reads."""
    return json.dumps({"job": job, "bucket": bucket, "keys": keys}, ensure_ascii=False)


def send(sqs: Any, queue: str, bodies: list[str]) -> None:
    """One request. SQS may take some and refuse others: those are sent again."""
    entries = [{"Id": str(place), "MessageBody": text} for place, text in enumerate(bodies)]
    for attempt in range(ATTEMPTS):
        failed = sqs.send_message_batch(QueueUrl=queue, Entries=entries).get("Failed", [])
        if not failed:
            return
        if any(each["SenderFault"] for each in failed):
            break
        again = {each["Id"] for each in failed}
        entries = [entry for entry in entries if entry["Id"] in again]
        time.sleep(0.2 * 2**attempt)
    raise QueueRefused(f"{queue} refused {len(failed)} of {len(bodies)} messages: {failed[0].get('Message', '')}")


def left(sqs: Any, queue: str) -> int:
    """Messages that wait or are worked on, as far as SQS knows at the moment."""
    found = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=list(WAITING))["Attributes"]
    return sum(int(value) for value in found.values())


def dead_letters(sqs: Any, queue: str) -> str:
    """The URL of the queue of messages that failed too often. Raises QueueRefused."""
    policy = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["RedrivePolicy"]).get("Attributes", {})
    if "RedrivePolicy" not in policy:
        raise QueueRefused(f"{queue} has no dead-letter queue; expected the one of template.yaml")
    name = json.loads(policy["RedrivePolicy"])["deadLetterTargetArn"].rpartition(":")[2]
    return str(sqs.get_queue_url(QueueName=name)["QueueUrl"])
