"""Test a contribution to the released function in Lambda's runtime, which stores it in moto's S3 over HTTP."""

import hashlib
import io
import json

import httpx2
import pytest
from PIL import Image

from tests.support.waiting import DEADLINE_S

pytestmark = pytest.mark.rie


@pytest.fixture
def client(contributing):
    with httpx2.Client(base_url=contributing.url, trust_env=False, timeout=DEADLINE_S) as client:
        yield client


def test_repeated_contribution_becomes_one_object(client, contributing, cat_jpg):
    """Two contributions of one photo become one object, whose digest is logged.

    The object has the path and the metadata that `make harvest` reads.
    """
    prediction = client.post("/predict", files={"file": cat_jpg}).json()
    fields = {"label": "dog", "request_id": prediction["request_id"], "consent": "true"}
    answers = [client.post("/feedback", data=fields, files={"file": cat_jpg}) for _ in range(2)]
    assert [200, 200] == [answer.status_code for answer in answers]
    digest = answers[0].json()["contribution"]
    [key] = contributing.list_keys()
    assert f"contributed/{prediction['model_version']}/dog/{digest}.jpg" == key
    [(metadata, photo)] = contributing.read_objects()
    assert ["confidence", "prediction", "request-id", "time"] == sorted(metadata)
    assert (prediction["request_id"], prediction["predicted_class"]) == (metadata["request-id"], metadata["prediction"])
    assert float(metadata["confidence"]) == pytest.approx(prediction["confidence"], abs=0.01)  # of the stored copy
    assert (digest, (451, 300)) == (hashlib.sha256(photo).hexdigest(), Image.open(io.BytesIO(photo)).size)
    expected = {"message": "feedback", "feedback_for": prediction["request_id"], "contribution": digest}
    assert contributing.runtime.log_line(lambda line: line.items() >= expected.items(), wait_s=DEADLINE_S)
    counted = contributing.runtime.log_line(lambda line: "Contributions" in line, wait_s=DEADLINE_S)
    assert [1.0] == json.loads(counted)["Contributions"]
