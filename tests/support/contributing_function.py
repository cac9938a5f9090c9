"""Provide the released function in Lambda's runtime, with a bucket for contributed photos in moto's S3."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx2
import pytest

from infra.emulator.runtime import Runtime, lambda_runtime
from infra.emulator.serve import background, local_app
from tests.support.moto import empty_account, s3_client
from tests.support.waiting import DEADLINE_S

BUCKET = "contributions-of-the-test"


@dataclass(frozen=True)
class ContributingFunction:
    url: str
    runtime: Runtime
    s3: Any

    def list_keys(self, suffix: str = ".jpg") -> list[str]:
        """Return the keys of the photos; those of their requests have no suffix."""
        found = (each["Key"] for each in self.s3.list_objects_v2(Bucket=BUCKET).get("Contents", []))
        return [key for key in found if key.endswith(suffix)]

    def read_objects(self) -> list[tuple[dict[str, str], bytes]]:
        """Return the metadata and the content of each object."""
        objects = [self.s3.get_object(Bucket=BUCKET, Key=key) for key in self.list_keys()]
        return [(each["Metadata"], each["Body"].read()) for each in objects]

    def empty(self) -> None:
        for key in self.list_keys(""):
            self.s3.delete_object(Bucket=BUCKET, Key=key)


@pytest.fixture(scope="module")
def contributing(moto: dict[str, str]) -> Iterator[ContributingFunction]:
    """Start the function of tests.support.patient_handler in an account with an empty bucket."""
    endpoint = moto["AWS_ENDPOINT_URL"]
    empty_account(endpoint)
    s3 = s3_client(endpoint)
    s3.create_bucket(Bucket=BUCKET)
    variables = moto | {"CONTRIBUTIONS": f"s3://{BUCKET}"}
    handler = "tests.support.patient_handler.handler"
    with lambda_runtime(handler, env=variables, timeout_s=DEADLINE_S) as runtime, background(local_app(runtime)) as url:
        httpx2.get(f"{url}/health", trust_env=False, timeout=DEADLINE_S).raise_for_status()
        yield ContributingFunction(url, runtime, s3)
