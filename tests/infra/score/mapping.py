"""Plays Lambda's event source mapping, which moto has not: `python -m tests.infra.score.mapping QUEUE`, until killed.

Receives a message, calls the handler, deletes it where it is not reported as failed; a failed one comes again at once.
The first is handled twice, as SQS may deliver any message twice. What it does is on its output.
"""

import os
import sys
import threading
from collections.abc import Callable
from typing import Any

from botocore.session import Session

from lambda_app.batch.handler import handler

PAUSE_S = 0.05  # between two questions to an empty queue


def event(messages: list[dict[str, Any]]) -> dict[str, Any]:
    """As Lambda hands messages over."""
    return {
        "Records": [
            {
                "messageId": message["MessageId"],
                "receiptHandle": message["ReceiptHandle"],
                "body": message["Body"],
                "attributes": message["Attributes"],
                "eventSource": "aws:sqs",
            }
            for message in messages
        ]
    }


def poll(sqs: Any, queue: str, stop: threading.Event, tell: Callable[[str], None]) -> None:
    """Handle messages until `stop` is set. `tell` gets each message's receipt, and "failed" where it failed."""
    twice = True
    while not stop.is_set():
        found = sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=1, AttributeNames=["All"])
        messages = found.get("Messages", [])
        if not messages:
            stop.wait(PAUSE_S)
            continue
        receipt = messages[0]["ReceiptHandle"]
        tell(receipt)
        if twice:
            handler(event(messages), None)
            twice = False
        if handler(event(messages), None)["batchItemFailures"]:
            tell("failed")
            sqs.change_message_visibility(QueueUrl=queue, ReceiptHandle=receipt, VisibilityTimeout=0)
        else:
            sqs.delete_message(QueueUrl=queue, ReceiptHandle=receipt)


if __name__ == "__main__":
    client = Session().create_client("sqs", endpoint_url=os.environ["AWS_ENDPOINT_URL"])
    poll(client, sys.argv[1], threading.Event(), lambda text: print(text, flush=True))
