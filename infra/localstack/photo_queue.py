"""Classify photos from S3 and SQS, store answers in S3, and write and read logs and metrics in CloudWatch."""

import json
import time
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from pathlib import Path
from typing import Any

import httpx2

from infra.emulator.event import content_type

BUCKET = QUEUE = "pet-classifier-photos"
ANSWERS = "answers.jsonl"
LOG_TIMEOUT_S = 30


class ClassificationFailed(Exception):
    """A photo could not be classified; the message is one line."""


def send(s3: Any, sqs: Any, photos: Sequence[Path]) -> str:
    """Upload each photo and queue a message about it; return the queue's URL."""
    s3.create_bucket(Bucket=BUCKET)
    queue = str(sqs.create_queue(QueueName=QUEUE)["QueueUrl"])
    for photo in photos:
        s3.put_object(Bucket=BUCKET, Key=photo.name, Body=photo.read_bytes(), ContentType=content_type(photo))
        sqs.send_message(QueueUrl=queue, MessageBody=json.dumps({"bucket": BUCKET, "key": photo.name}))
    return queue


def classify(s3: Any, sqs: Any, queue: str, url: str) -> list[dict[str, Any]]:
    """Return the function's answer to each message, with the photo's `key`, as read back from S3."""
    answers = []
    with httpx2.Client(base_url=url, trust_env=False, timeout=60) as client:
        for message in _messages(sqs, queue):
            photo = s3.get_object(Bucket=message["bucket"], Key=message["key"])
            headers = {"content-type": photo["ContentType"]}
            reply = client.post("/predict", content=photo["Body"].read(), headers=headers)
            if reply.status_code != HTTPStatus.OK:
                raise ClassificationFailed(
                    f"{message['key']}: POST /predict answered {reply.status_code}: {reply.text.strip()}"
                )
            answers.append({"key": message["key"]} | reply.json())
    if not answers:
        raise ClassificationFailed(f"{queue}: no messages; expected one per photo")
    s3.put_object(Bucket=BUCKET, Key=ANSWERS, Body="\n".join(map(json.dumps, answers)))
    return [json.loads(line) for line in s3.get_object(Bucket=BUCKET, Key=ANSWERS)["Body"].iter_lines()]


def _messages(sqs: Any, queue: str) -> Iterator[dict[str, Any]]:
    """Yield messages until the queue is empty; delete each one after it was processed."""
    while received := sqs.receive_message(QueueUrl=queue, WaitTimeSeconds=1).get("Messages"):
        for message in received:
            yield json.loads(message["Body"])
            sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])


def write_log(logs: Any, group: str, lines: Iterable[str]) -> None:
    """Write the lines to a log group, as Lambda does with a function's output."""
    now = int(time.time() * 1000)
    logs.create_log_stream(logGroupName=group, logStreamName="make-localstack")
    events = [{"timestamp": now, "message": line} for line in lines if line]
    logs.put_log_events(logGroupName=group, logStreamName="make-localstack", logEvents=events)


def read_log(logs: Any, group: str, request_ids: set[str]) -> list[dict[str, Any]]:
    """Return the JSON lines of these requests.

    Wait until each has its metrics, which are its last line, for at most `LOG_TIMEOUT_S`.
    """
    deadline = time.monotonic() + LOG_TIMEOUT_S
    while True:
        pages = logs.get_paginator("filter_log_events").paginate(logGroupName=group)
        # No filter pattern: LocalStack 4.14 ignores it and returns every event.
        lines = (event["message"] for page in pages for event in page["events"] if event["message"].startswith("{"))
        records = [record for record in map(json.loads, lines) if record.get("request_id") in request_ids]
        if time.monotonic() > deadline or request_ids == {
            record["request_id"] for record in records if "_aws" in record
        }:
            return records
        time.sleep(0.5)


def write_metrics(cloudwatch: Any, records: Iterable[dict[str, Any]]) -> None:
    """Publish the metrics that the log lines embed, as CloudWatch does: each metric once per set of dimensions."""
    for record in records:
        for directive in record["_aws"]["CloudWatchMetrics"]:
            data = [
                {
                    "MetricName": metric["Name"],
                    "Dimensions": [{"Name": name, "Value": record[name]} for name in names],
                    "Timestamp": datetime.fromtimestamp(record["_aws"]["Timestamp"] / 1000, UTC),
                    "Values": record[metric["Name"]],
                    "Unit": metric["Unit"],
                }
                for names in directive["Dimensions"]
                for metric in directive["Metrics"]
            ]
            cloudwatch.put_metric_data(Namespace=directive["Namespace"], MetricData=data)


def read_metrics(cloudwatch: Any) -> dict[str, tuple[float, float]]:
    """Return the count and the sum of each custom metric's values in the last hour.

    Skips metrics with the single dimension `service`, which repeat the same values.
    """
    now = datetime.now(UTC)
    window = {"StartTime": now - timedelta(hours=1), "EndTime": now + timedelta(minutes=1), "Period": 7200}
    found: dict[str, tuple[float, float]] = {}
    pages = cloudwatch.get_paginator("list_metrics").paginate()
    for metric in (
        metric
        for page in pages
        for metric in page["Metrics"]
        if not metric["Namespace"].startswith("AWS/") and len(metric["Dimensions"]) > 1
    ):
        points = cloudwatch.get_metric_statistics(**metric, **window, Statistics=["SampleCount", "Sum"])["Datapoints"]
        count, total = found.get(metric["MetricName"], (0, 0))
        count += sum(point["SampleCount"] for point in points)
        found[metric["MetricName"]] = (count, total + sum(point["Sum"] for point in points))
    return found
