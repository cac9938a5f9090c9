"""Classify photos in S3 in a second Lambda function, which has the same image and which SQS invokes.

Each message names photos and produces one object of JSON lines, one line per photo: its prediction, or the reason why
there is none. The object's key depends on the message and the model alone, so processing a message twice is idempotent.
A temporary error of S3 or of decoding fails the message, which SQS then delivers again. Runbook: infra/score/README.md.
"""

import json
import logging
import time
from collections import Counter
from functools import cache
from typing import Any

from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord
from botocore.config import Config
from botocore.httpsession import get_cert_path
from botocore.session import Session
from pydantic import Field

from lambda_app.batch.objects import (
    Fetched,
    MalformedMessage,
    Reader,
    Signer,
    Source,
    StorageRefused,
    prefetch,
    read_message,
)
from lambda_app.classifier import Classifier
from lambda_app.errors import Overloaded, RequestError
from lambda_app.prediction_record import classify
from lambda_app.preprocess import preprocess
from lambda_app.settings import Settings
from lambda_app.telemetry.logger import JsonLogger

# S3 accepts only version 4 signatures. The standard retry mode also retries throttled requests. Virtual addressing puts
# the region into a signed URL: without it, S3's global endpoint redirects or refuses requests outside us-east-1.
S3_CONFIG = Config(
    signature_version="s3v4",
    retries={"mode": "standard", "max_attempts": 5},
    s3={"addressing_style": "virtual"},
    tcp_keepalive=True,
)


class BatchSettings(Settings):
    """The settings of the serving function, and the location of the results."""

    results_bucket: str = Field(min_length=3, description="the bucket of the results")
    results_prefix: str = Field(
        pattern=r".+/$", description="the prefix of their keys, below which no object is classified"
    )


class Scorer:
    """Process messages with a classifier and an S3 client."""

    def __init__(self, classifier: Classifier, settings: BatchSettings, s3: Any, credentials: Any) -> None:
        self.classifier, self.settings, self.s3 = classifier, settings, s3
        certificates = get_cert_path(True)  # botocore's own: the image has no others
        self.reader = Reader(Signer(s3, credentials).sign, settings.max_image_bytes, certificates)
        self.logger = JsonLogger(settings.service_name, settings.log_level)

    def process(self, record: SQSRecord) -> None:
        """Process one message. Log and re-raise every error: Powertools then reports the message to SQS as failed."""
        try:
            self.score(record.body)
        except Exception as error:  # Powertools catches every error, so the log needs it first
            # Messages of other errors may quote object names and URLs.
            reason = str(error) if isinstance(error, MalformedMessage | StorageRefused) else None
            fields = {
                "message_id": record.message_id,
                "receive_count": record.attributes.approximate_receive_count,
                "error": type(error).__name__,
                "reason": reason,
            }
            self.logger.error("a message failed", extra=fields)  # noqa: TRY400  # a stack trace may quote them, too
            raise

    def score(self, body: str) -> None:
        """Classify the photos of one message and write their results.

        Raise `MalformedMessage`, `Overloaded`, `StorageRefused`, or an error of botocore or urllib3 if S3 does not
        answer.
        """
        start = time.perf_counter()
        message = read_message(body)
        sources = [source for source in message.sources if not self._is_result(source)]
        if not sources:
            return
        rows = [self._row(fetched) for fetched in prefetch(self.reader.fetch, sources)]
        text = "".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows)
        version = self.classifier.metadata.model_version
        key = f"{self.settings.results_prefix}{message.job}/{version}/{message.digest()}.jsonl"
        self.s3.put_object(Bucket=self.settings.results_bucket, Key=key, Body=text.encode())
        self._log(message.job, rows, time.perf_counter() - start)

    def _is_result(self, source: Source) -> bool:
        """Return whether the object is a result. Where photos and results share a bucket, messages may name results."""
        in_results_bucket = source.bucket == self.settings.results_bucket
        return in_results_bucket and source.key.startswith(self.settings.results_prefix)

    def _row(self, fetched: Fetched) -> dict[str, Any]:
        """Return the source of a photo with its prediction, or with `error_code` and `error_message`."""
        row = vars(fetched.source) | {"etag": fetched.etag, "model_version": self.classifier.metadata.model_version}
        if fetched.error:
            code, message = fetched.error
            return row | {"error_code": code, "error_message": message}
        try:
            return row | self._predict(fetched.data)
        except Overloaded:  # a temporary error, unlike all others
            raise
        except RequestError as error:
            return row | {"error_code": error.code, "error_message": str(error)}

    def _predict(self, data: bytes) -> dict[str, Any]:
        photo = preprocess(data, self.classifier.metadata.image_size, self.settings.max_image_pixels)
        # One photo per run: two would save at most a tenth of the network's time (infra/bench/RESULTS.md, Latency and
        # memory), but the last bits of a result would depend on the photo beside it.
        [record] = classify(self.classifier, [photo.pixels])
        fields = {name: value for name, value in vars(record.prediction).items() if name != "predicted_label"}
        return fields | {"signals": record.signals}

    def _log(self, job: str, rows: list[dict[str, Any]], seconds: float) -> None:
        """Log one line per message. A line for each of 100 million photos would cost as much as classifying them."""
        fields = {
            "job": job,
            "photos": len(rows),
            "predicted": Counter(row["predicted_class"] for row in rows if "predicted_class" in row),
            "unknown": sum(row.get("unknown", False) for row in rows),
            "errors": Counter(row["error_code"] for row in rows if "error_code" in row),
            "model_version": self.classifier.metadata.model_version,
            "total_ms": round(seconds * 1000, 3),
        }
        self.logger.info("batch", extra=fields)


@cache
def scorer() -> Scorer:
    """Return the scorer of this execution environment, built from its variables at the first call."""
    settings = BatchSettings.from_env()
    # Below ERROR, these libraries log object names and signed URLs.
    for name in ("botocore", "urllib3", "PIL"):
        logging.getLogger(name).setLevel(logging.ERROR)
    session = Session()
    client = session.create_client("s3", config=S3_CONFIG)
    return Scorer(Classifier.load(settings.model_path), settings, client, session.get_credentials())


processor = BatchProcessor(EventType.SQS, raise_on_entire_batch_failure=False)


def handler(event: dict[str, Any], context: Any) -> Any:
    """Return the ids of failed messages to Lambda, which deletes all others from the queue."""
    return process_partial_response(event, scorer().process, processor, context)
