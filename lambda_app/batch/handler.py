"""Photos by the million: the handler of another function on the same image, which SQS calls.

Messages name photos in S3; each message becomes one object of JSON lines, one line a photo, with its prediction or with
the reason why there is none. Where that lies follows from message and model, so a message that comes twice changes
nothing. What S3 may give another time fails its message, which SQS then repeats. Runbook: infra/score/README.md.
"""

import json
import logging
import sys
import time
from collections import Counter
from functools import cache
from typing import Any
from urllib.parse import quote

from aws_lambda_powertools.logging import Logger
from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord
from botocore.auth import S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.httpsession import get_cert_path
from botocore.session import Session
from pydantic import Field

from lambda_app.batch.objects import (
    URL_SECONDS,
    Fetched,
    MalformedMessage,
    Reader,
    Source,
    StorageRefused,
    ahead,
    read_message,
)
from lambda_app.classifier import Classifier
from lambda_app.errors import RequestError
from lambda_app.preprocess import preprocess
from lambda_app.settings import Settings
from lambda_app.signals import signals

# S3 signs by version 4 alone, and answers throttled requests later. "virtual" is what names the region in a signed URL:
# without it S3's global endpoint redirects, or refuses, what is not in us-east-1.
S3_CONFIG = Config(
    signature_version="s3v4",
    retries={"mode": "standard", "max_attempts": 5},
    s3={"addressing_style": "virtual"},
    tcp_keepalive=True,
)


class BatchSettings(Settings):
    """The serving function's, and where results go."""

    results_bucket: str = Field(min_length=3, description="the bucket of the results")
    results_prefix: str = Field(pattern=r".+/$", description="what their names begin with; nothing there is classified")


class Signer:
    """URLs of photos: S3's client finds a bucket's address anew for each, which takes 0.9 ms of a photo's 10."""

    def __init__(self, s3: Any, credentials: Any) -> None:
        self.s3, self.credentials = s3, credentials
        self.addresses: dict[str, str] = {}

    def url(self, source: Source) -> str:
        version = f"?versionId={quote(source.version, safe='')}" if source.version else ""
        request = AWSRequest("GET", f"{self._address(source.bucket)}{quote(source.key, safe='/')}{version}")
        credentials = self.credentials.get_frozen_credentials()
        S3SigV4QueryAuth(credentials, "s3", self.s3.meta.region_name, expires=URL_SECONDS).add_auth(request)
        return str(request.url)

    def _address(self, bucket: str) -> str:
        if bucket not in self.addresses:
            url = self.s3.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "-"})
            self.addresses[bucket] = url.partition("?")[0].removesuffix("-")
        return self.addresses[bucket]


class Scorer:
    """What turns messages into results: a classifier, and S3."""

    def __init__(self, classifier: Classifier, settings: BatchSettings, s3: Any, credentials: Any) -> None:
        self.classifier, self.settings, self.s3 = classifier, settings, s3
        certificates = get_cert_path(True)  # botocore's own: the image has no others
        self.reader = Reader(Signer(s3, credentials).url, settings.max_image_bytes, certificates)
        self.logger = Logger(
            service=settings.service_name,
            level=settings.log_level,
            stream=sys.stdout,
            location=None,
            use_rfc3339=True,
        )

    def record(self, record: SQSRecord) -> None:
        """One message of SQS. Whatever it raises, Powertools tells SQS that this message failed."""
        try:
            self.score(record.body)
        except Exception as error:  # Powertools' processor takes any; the log has to have it before
            known = isinstance(error, MalformedMessage | StorageRefused)  # others may quote names and URLs
            about: dict[str, Any] = {
                "message_id": record.message_id,
                "receive_count": record.attributes.approximate_receive_count,
            }
            about |= {"error": type(error).__name__, "reason": str(error) if known else None}
            self.logger.error("a message failed", extra=about)  # noqa: TRY400  # likewise
            raise

    def score(self, body: str) -> None:
        """Raises MalformedMessage, StorageRefused, or what botocore and urllib3 raise where S3 does not answer."""
        began = time.perf_counter()
        message = read_message(body)
        sources = [source for source in message.sources if not self._is_own(source)]
        if not sources:
            return
        lines = [self.line(fetched) for fetched in ahead(self.reader.fetch, sources)]
        text = "".join(f"{json.dumps(line, ensure_ascii=False)}\n" for line in lines)
        version = self.classifier.metadata.model_version
        key = f"{self.settings.results_prefix}{message.job}/{version}/{message.name()}.jsonl"
        self.s3.put_object(Bucket=self.settings.results_bucket, Key=key, Body=text.encode())
        self._log(message.job, lines, time.perf_counter() - began)

    def _is_own(self, source: Source) -> bool:
        """A result that a notification or a list named, where photos and results share a bucket."""
        own = (self.settings.results_bucket, True)
        return own == (source.bucket, source.key.startswith(self.settings.results_prefix))

    def line(self, fetched: Fetched) -> dict[str, Any]:
        """With `error_code` and `error_message`, or with a prediction."""
        about = vars(fetched.source) | {"etag": fetched.etag, "model_version": self.classifier.metadata.model_version}
        if fetched.error:
            return about | dict(zip(("error_code", "error_message"), fetched.error, strict=True))
        try:
            return about | self._predicted(fetched.data)
        except RequestError as error:
            return about | {"error_code": error.code, "error_message": str(error)}

    def _predicted(self, data: bytes) -> dict[str, Any]:
        photo = preprocess(data, self.classifier.metadata.image_size, self.settings.max_image_pixels)
        # Alone: two at once would save 3 % of a photo's time, more would cost (infra/bench/RESULTS.md), and an answer
        # would depend on its neighbours, to the last bit.
        outputs = self.classifier.run(photo.pixels[None])
        [prediction] = self.classifier.predictions(outputs)
        named = {name: value for name, value in vars(prediction).items() if name != "label"}
        return named | {"signals": signals(photo.pixels, outputs)}

    def _log(self, job: str, lines: list[dict[str, Any]], seconds: float) -> None:
        """One line a message, not a photo: 100 million of those would cost as much as the photos do."""
        about = {
            "job": job,
            "photos": len(lines),
            "predicted": Counter(line["predicted_class"] for line in lines if "predicted_class" in line),
            "unknown": sum(line.get("unknown", False) for line in lines),
            "errors": Counter(line["error_code"] for line in lines if "error_code" in line),
            "model_version": self.classifier.metadata.model_version,
            "total_ms": round(seconds * 1000, 3),
        }
        self.logger.info("batch", extra=about)


@cache
def scorer() -> Scorer:
    """Once an environment."""
    settings = BatchSettings.from_env()
    # Below ERROR they write names of photos, and URLs with signatures.
    for name in ("botocore", "urllib3", "PIL"):
        logging.getLogger(name).setLevel(logging.ERROR)
    session = Session()
    client = session.create_client("s3", config=S3_CONFIG)
    return Scorer(Classifier.load(settings.model_path), settings, client, session.get_credentials())


processor = BatchProcessor(EventType.SQS, raise_on_entire_batch_failure=False)


def handler(event: dict[str, Any], context: Any) -> Any:
    """Lambda's: the message where it failed, and otherwise none, for it to be deleted."""
    return process_partial_response(event, scorer().record, processor, context)
