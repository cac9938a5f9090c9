"""Stand in for Lambda's event source mapping, which moto lacks: `python -m tests.support.event_source_mapping QUEUE`.

It receives a message, invokes the handler, and deletes the message unless the handler reports it as failed; a failed
message becomes visible again immediately. The first message is handled twice, because SQS may deliver a message twice.
It prints the receipt of each message, and "failed" after a failure, until it is killed.
"""

import os
import sys
import threading
from collections.abc import Callable
from typing import Any

from botocore.session import Session

from lambda_app.batch.handler import handler

PAUSE_S = 0.05  # between two polls of an empty queue


def event(messages: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the event with which Lambda invokes the handler."""
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


def poll(sqs: Any, queue: str, stop: threading.Event, report: Callable[[str], None]) -> None:
    """Handle messages until `stop` is set. Call `report` with each receipt, and with "failed" after a failure."""
    is_first = True
    while not stop.is_set():
        response = sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=1, AttributeNames=["All"])
        messages = response.get("Messages", [])
        if not messages:
            stop.wait(PAUSE_S)
            continue
        receipt = messages[0]["ReceiptHandle"]
        report(receipt)
        if is_first:
            handler(event(messages), None)
            is_first = False
        if handler(event(messages), None)["batchItemFailures"]:
            report("failed")
            sqs.change_message_visibility(QueueUrl=queue, ReceiptHandle=receipt, VisibilityTimeout=0)
        else:
            sqs.delete_message(QueueUrl=queue, ReceiptHandle=receipt)


if __name__ == "__main__":
    client = Session().create_client("sqs", endpoint_url=os.environ["AWS_ENDPOINT_URL"])
    poll(client, sys.argv[1], threading.Event(), lambda text: print(text, flush=True))
