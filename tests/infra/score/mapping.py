"""Plays Lambda's event source mapping, which moto has not: `python -m tests.infra.score.mapping QUEUE`, until killed.

Receives messages, calls the handler, deletes those that it did not report as failed. The first of its batches is
begun twice, as SQS may deliver any message twice. What it does is on its output.
"""

import os
import sys
from types import SimpleNamespace
from typing import Any

from botocore.session import Session

from lambda_app.batch import handler

MESSAGES = 2  # in a batch
CONTEXT = SimpleNamespace(get_remaining_time_in_millis=lambda: 300_000)


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


def poll(sqs: Any, queue: str) -> None:
    twice = True
    options = {"MaxNumberOfMessages": MESSAGES, "WaitTimeSeconds": 1, "AttributeNames": ["All"]}
    while True:
        messages = sqs.receive_message(QueueUrl=queue, **options).get("Messages", [])
        if not messages:
            continue
        print(f"{len(messages)} messages", flush=True)
        if twice:
            handler(event(messages[:1]), CONTEXT)
            twice = False
        failed = {each["itemIdentifier"] for each in handler(event(messages), CONTEXT)["batchItemFailures"]}
        print(f"{len(failed)} failed", flush=True)
        for message in messages:
            if message["MessageId"] not in failed:
                sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])


if __name__ == "__main__":
    poll(Session().create_client("sqs", endpoint_url=os.environ["AWS_ENDPOINT_URL"]), sys.argv[1])
