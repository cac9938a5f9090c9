"""Store contributed photos in an S3 bucket. The first photo imports botocore and creates a client in 0.5 s."""

import logging
from functools import cached_property
from typing import Any

from lambda_app.contributions.contribution import Contribution
from lambda_app.errors import StorageFailed

# For each of two objects, two attempts of at most 2 s each and a pause of at most 1 s between them: at most 10 s. The
# function's timeout is 15 s.
TIMEOUTS = {"connect_timeout": 1, "read_timeout": 1}
ATTEMPTS = 2


class BucketStore:
    """Stores each photo as an object. PutObject is atomic: an interrupted upload leaves no object."""

    def __init__(self, bucket: str) -> None:
        self.bucket = bucket

    @cached_property
    def client(self) -> Any:
        from botocore.config import Config  # noqa: PLC0415  # see the module's docstring
        from botocore.session import Session  # noqa: PLC0415

        for name in ("botocore", "urllib3"):  # their messages below ERROR contain object names and metadata
            logging.getLogger(name).setLevel(logging.ERROR)
        retries = {"mode": "standard", "total_max_attempts": ATTEMPTS}
        return Session().create_client("s3", config=Config(signature_version="s3v4", retries=retries, **TIMEOUTS))

    def put(self, contribution: Contribution) -> None:
        """Write the object of the request, then the photo, both encrypted with S3's own keys.

        Raise `StorageFailed` with S3's error code.
        """
        from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415  # see the module's docstring

        place = {"Bucket": self.bucket, "ServerSideEncryption": "AES256"}
        photo = {"Body": contribution.photo, "ContentType": "image/jpeg", "Metadata": contribution.metadata}
        try:
            self.client.put_object(**place, Key=contribution.request_key)
            self.client.put_object(**place, Key=contribution.key, **photo)
        except ClientError as error:
            raise StorageFailed(error.response["Error"]["Code"]) from error
        except BotoCoreError as error:
            raise StorageFailed(type(error).__name__) from error
