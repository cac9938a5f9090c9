"""Provide an empty AWS account whose faults a test sets, and the function that classifies photos from its queue."""

import functools
import threading
from contextlib import contextmanager

import pytest
from botocore.credentials import Credentials
from botocore.session import Session

from infra.score import __main__ as program
from infra.score import progress as score_progress
from lambda_app.batch import handler as batch
from tests.support import tiny_model
from tests.support.event_source_mapping import poll
from tests.support.faulty_cloud import RESULTS
from tests.support.sam import REGION

one_session = functools.cache(Session)  # a new session reads the service descriptions, which takes half a second


@pytest.fixture
def faulty_aws(moto_cloud, monkeypatch):
    moto_cloud.empty()
    for name, value in moto_cloud.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(score_progress, "POLL_S", 0.05)
    monkeypatch.setattr(score_progress, "QUIET_S", 0.3)  # moto's counts are exact
    monkeypatch.setattr("infra.score.dead_letters.WAIT_S", 0)
    monkeypatch.setattr(program, "Session", one_session)
    return moto_cloud


@pytest.fixture
def out(tmp_path):
    return tmp_path / "predictions.parquet"


@pytest.fixture(scope="session")
def function_environment(tmp_path_factory):
    """Return the function's environment variables."""
    model = tiny_model.write(tmp_path_factory.mktemp("model") / "tiny.onnx")
    return {"RESULTS_BUCKET": RESULTS, "RESULTS_PREFIX": "pets/", "MODEL_PATH": str(model)}


@pytest.fixture
def function_thread(faulty_aws, function_environment, tiny_classifier, monkeypatch):
    """Return a context in which the function runs in a thread of this process."""
    settings = batch.BatchSettings.from_env(function_environment | {"SERVICE_NAME": "score-test"})
    s3 = one_session().create_client("s3", REGION, config=batch.S3_CONFIG)
    scorer = batch.Scorer(tiny_classifier, settings, s3, Credentials("test", "test"))
    monkeypatch.setattr(batch, "scorer", lambda: scorer)

    @contextmanager
    def run_function():
        stop = threading.Event()
        thread = threading.Thread(target=poll, args=(faulty_aws.sqs, faulty_aws.queue, stop, lambda _: None))
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()

    return run_function
