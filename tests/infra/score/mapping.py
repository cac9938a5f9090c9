"""Plays Lambda's event source mapping, which moto has not: `python -m tests.infra.score.mapping QUEUE`, until killed.

Receives a message, calls the handler, deletes it where it is not reported as failed. The first is handled twice, as SQS
may deliver any message twice. What it does is on its output.
"""

import os
import sys
from typing import Any

from botocore.session import Session

from lambda_app.batch import handler


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
    options = {"MaxNumberOfMessages": 1, "WaitTimeSeconds": 1, "AttributeNames": ["All"]}
    while True:
        messages = sqs.receive_message(QueueUrl=queue, **options).get("Messages", [])
        if not messages:
            continue
        print("a message", flush=True)
        if twice:
            handler(event(messages), None)
            twice = False
        if handler(event(messages), None)["batchItemFailures"]:
            print("failed", flush=True)
        else:
            sqs.delete_message(QueueUrl=queue, ReceiptHandle=messages[0]["ReceiptHandle"])


if __name__ == "__main__":
    poll(Session().create_client("sqs", endpoint_url=os.environ["AWS_ENDPOINT_URL"]), sys.argv[1])
