"""Test the registered versions: their tags, their run, and how `mlflow models serve` serves them."""

import json
import os
import signal
import subprocess
import sys
import urllib.request
from contextlib import suppress
from pathlib import Path

import mlflow
import numpy as np
import pytest

from export.files import RELEASED
from export.registry import CHAMPION
from lambda_app.classifier import Classifier
from tests.export.challengers import REGISTRY, make_int8, release_file
from tests.export.untrained_models import pixels
from tests.support.commands import PROGRAMS_PATH
from tests.support.waiting import DEADLINE_S, wait_for_output
from training.manifest import MANIFEST
from training.source import sha256


def test_version_is_tagged(in_released):
    """A version belongs to the run that trained it, with file hash, scores and provenance as tags."""
    version, metadata = REGISTRY.find_alias(CHAMPION), Classifier.load(RELEASED).metadata
    expected = {
        "candidate": "fp32",
        "sha256": sha256(RELEASED),
        "model_version": metadata.model_version,
        "data_hash": sha256(MANIFEST),
        "git_commit": metadata.git_commit,
        "test_accuracy": "0.75",
    }
    assert expected.items() <= version.tags.items()
    assert metadata.run_id == version.run_id


def test_input_example_contains_no_photo(in_released):
    """The input example of a version is a black image of the right shape."""
    model = mlflow.pyfunc.load_model("models:/pet-classifier@champion")
    assert {"images": (-1, 3, 32, 32)} == {spec.name: spec.shape for spec in model.metadata.signature.inputs}
    assert not model.input_example["images"].any()
    assert (1, 3) == model.predict(model.input_example)["probabilities"].shape


@pytest.fixture
def served(store):
    """Yield the address of `mlflow models serve` with the int8 champion, on a free port."""
    release_file(make_int8(), "int8")
    command = [sys.executable, "-m", "mlflow", "models", "serve", "-m", "models:/pet-classifier@champion"]
    command += ["--env-manager", "local", "--port", "0", "--workers", "1"]
    environment = os.environ | {
        "PATH": PROGRAMS_PATH,  # contains uvicorn
        "UVICORN_PORT": "0",  # MLflow does not pass port 0 on
    }
    with Path("serve.log").open("wb") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
    try:
        # Uvicorn logs its address once MLflow has loaded the model.
        yield wait_for_output(process, Path("serve.log"), r"Uvicorn running on (http://127\.0\.0\.1:\d+)")
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)  # MLflow starts uvicorn, which starts its worker
        process.wait()


def test_mlflow_predicts_like_the_function(served):
    """`mlflow models serve -m models:/pet-classifier@champion` returns what the file does, without the map."""
    images = pixels(3, 32)
    body = json.dumps({"inputs": {"images": images.tolist()}}).encode()
    request = urllib.request.Request(f"{served}/invocations", body, {"content-type": "application/json"})
    answer = json.load(urllib.request.urlopen(request, timeout=DEADLINE_S))["predictions"]
    expected = Classifier.load(RELEASED).run(images)
    for name in answer.keys() | vars(expected).keys() - {"activation_map"}:
        np.testing.assert_allclose(answer[name], getattr(expected, name), rtol=1e-5, atol=1e-6)
