"""Provide the fixtures that several packages share: the tiny model, an app with it, the sample photos, moto."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import Generator, Iterator
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import httpcore2
import pytest
from botocore.loaders import create_loader
from hypothesis import HealthCheck, settings
from PIL import Image
from starlette.testclient import TestClient

from infra.emulator.moto_server import moto_server
from infra.emulator.serve import background
from lambda_app.app import create_app
from lambda_app.classifier import Classifier
from lambda_app.settings import Settings
from tests.support import ROOT, tiny_model
from tests.support.drawing import encode_image
from tests.support.moto import empty_account
from tests.support.waiting import DEADLINE_S

# On a busy machine, an example may take long, which is not a failure.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")
os.environ["CUDA_VISIBLE_DEVICES"] = ""  # only a CPU repeats results to the bit; tests of a GPU enable it
SHARED = ROOT.parent / "shared"

# Skip reasons that CI accepts. Any other skip fails the run, because it means that the setup is incomplete.
ALLOWED_SKIPS = ("no GPU", "the released model was trained on other photos")
if not (SHARED / "data").is_dir():
    ALLOWED_SKIPS += ("no ../shared/data",)


pytest_plugins = (
    "tests.support.contributing_function",
    "tests.support.distribution",
    "tests.support.emulator",
    "tests.support.fast",
    "tests.support.garbage_collection",
    "tests.support.missing_programs",
    "tests.support.terminal_summary",
)


def pytest_configure() -> None:
    """Restore the SIGINT handler: a shell ignores SIGINT for background jobs, and programs of tests inherit that."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Fail skipped tests in CI unless `ALLOWED_SKIPS` lists the reason."""
    report = yield
    if os.environ.get("CI") and report.skipped and not hasattr(report, "wasxfail"):
        from tests.support.terminal_summary import skip_reason  # noqa: PLC0415  # pytest imports its plugins after this file

        reason = skip_reason(report)
        if not reason.startswith(ALLOWED_SKIPS):
            report.outcome, report.longrepr = "failed", f"skipped in CI: {reason}"
    return report


@pytest.fixture(autouse=True)
def _forget_mlflow_store() -> Iterator[None]:
    """Reset MLflow's address of its store, which it keeps in the process and in the environment."""
    yield
    if mlflow := sys.modules.get("mlflow"):
        mlflow.set_tracking_uri(None)


@pytest.fixture(autouse=True, scope="session")
def _wait_for_busy_machine() -> Iterator[None]:
    """Let requests take longer than in production, because a busy machine is not an overload."""
    with pytest.MonkeyPatch.context() as patch:
        for limit in (
            "admission.MAX_WAIT_S",
            "inference.DECODING_S",
            "uploads.backpressure.GRACE_S",
            "uploads.backpressure.UPLOAD_S",
            "decoding.heif.CHILD_WAIT_S",
        ):
            patch.setattr(f"lambda_app.{limit}", DEADLINE_S)  # tests of a limit set their own
        patch.setattr(
            "lambda_app.contributions.stores.TIMEOUTS", {"connect_timeout": DEADLINE_S, "read_timeout": DEADLINE_S}
        )
        yield


@pytest.fixture(autouse=True, scope="session")
def _share_ssl_context() -> Iterator[None]:
    """Parse the root certificates once per process instead of 40 ms for each HTTP client, most of which use no TLS."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(httpcore2, "default_ssl_context", cache(httpcore2.default_ssl_context))
        yield


@pytest.fixture(scope="session")
def shared() -> Path:
    """Return the folder of real photos beside the checkout."""
    if not (SHARED / "data").is_dir():
        pytest.skip("no ../shared/data")
    return SHARED


@pytest.fixture(scope="session")
def tiny_classifier(tmp_path_factory):
    return Classifier.load(tiny_model.write(tmp_path_factory.mktemp("model") / "tiny.onnx"))


@pytest.fixture(scope="session")
def released_classifier() -> Classifier:
    return Classifier.load(Settings().model_path)


@pytest.fixture(scope="module")
def app(tiny_classifier):
    return create_app(tiny_classifier, Settings(log_level="ERROR"))


@pytest.fixture(scope="module")
def url(app) -> Iterator[str]:
    """Return the URL of `app` behind uvicorn. Modules replace `app` to serve another one."""
    with background(app) as url:
        yield url


@pytest.fixture
def client(tiny_classifier):
    settings = Settings(max_image_bytes=100_000, max_image_pixels=1_000_000)
    with TestClient(create_app(tiny_classifier, settings)) as client:
        yield client


class Logged:
    """An app whose standard output the test reads as JSON lines."""

    def __init__(self, classifier: Classifier, capsys: pytest.CaptureFixture) -> None:
        self.classifier, self.capsys, self.settings = classifier, capsys, Settings()

    @cached_property
    def client(self) -> TestClient:
        """Return a client, created during the test because pytest replaces standard output for each phase."""
        return TestClient(create_app(self.classifier, self.settings))

    def lines(self) -> list[dict]:
        """Return the lines of standard output since the last call."""
        return [json.loads(line) for line in self.capsys.readouterr().out.splitlines()]


@pytest.fixture
def logged(tiny_classifier, capsys):
    return Logged(tiny_classifier, capsys)


@pytest.fixture(scope="module")
def event_loop() -> Iterator[None]:
    """Give the thread an event loop for Mangum: asyncio.run in another test may have removed it."""
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    yield
    asyncio.set_event_loop(None)
    loop.close()


@pytest.fixture(scope="session")
def cat_jpg() -> bytes:
    return (ROOT / "data/samples/cat.jpg").read_bytes()


@pytest.fixture(scope="session")
def encode():
    """Return a function that encodes a photo of a single color."""

    def encode(color="red", size=(64, 48), image_format="JPEG", mode="RGB", **options) -> bytes:
        return encode_image(Image.new("RGB", size, color).convert(mode), image_format, **options)

    return encode


@pytest.fixture(scope="session")
def moto() -> Iterator[dict[str, str]]:
    """Return the environment variables for moto's server, which replaces AWS.

    All sessions share one loader: otherwise, each parses the JSON of its services again.
    """
    with moto_server() as environment, pytest.MonkeyPatch.context() as patch:
        patch.setattr("botocore.session.create_loader", cache(create_loader))
        yield environment


@pytest.fixture(scope="module")
def moto_cloud(moto: dict[str, str]) -> Iterator[Any]:
    """Yield moto's S3 and SQS, whose faults a test sets, in an account with two buckets."""
    from tests.support.faulty_cloud import cloud  # noqa: PLC0415  # imports moto

    with cloud(moto) as faulty_cloud:
        yield faulty_cloud


@pytest.fixture
def aws(moto: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the URL of an empty AWS account, and configure boto3, DVC and SAM CLI for it."""
    url = moto["AWS_ENDPOINT_URL"]
    empty_account(url)
    for name, value in moto.items():
        monkeypatch.setenv(name, value)
    return url
