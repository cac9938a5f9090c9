"""Contribute a photo to the released function in Lambda's runtime, which stores it in moto's S3 over HTTP."""

import hashlib
import io
import json

import httpx2
import pytest
from PIL import Image

from tests.contributing import BUCKET, contributing_function
from tests.drawing import draw, encode

pytestmark = [pytest.mark.rie, pytest.mark.process]


@pytest.fixture(scope="module")
def function(moto):
    with contributing_function(moto) as function:
        yield function


@pytest.fixture
def client(function):
    function.empty()
    with httpx2.Client(base_url=function.url, trust_env=False, timeout=600) as client:
        yield client


def contribute(client, photo: bytes, label: str, request_id: str, consent: str = "true"):
    fields = {"label": label, "request_id": request_id, "consent": consent}
    return client.post("/feedback", data=fields, files={"file": ("photo.jpg", photo, "image/jpeg")})


def test_contribution_becomes_one_object(client, function, cat_jpg):
    """The object has the path, the encryption and the metadata that `make harvest` reads; the log has its digest."""
    prediction = client.post("/predict", files={"file": cat_jpg}).json()
    answers = [contribute(client, cat_jpg, "dog", prediction["request_id"]) for _ in range(2)]
    assert [200, 200] == [answer.status_code for answer in answers]
    digest = answers[0].json()["contribution"]
    [key] = function.list_keys()
    assert f"contributed/{prediction['model_version']}/dog/{digest}.jpg" == key
    head = function.s3.head_object(Bucket=BUCKET, Key=key)
    assert ("AES256", "image/jpeg") == (head["ServerSideEncryption"], head["ContentType"])
    [(metadata, photo)] = function.stored()
    assert ["confidence", "prediction", "request-id", "time"] == sorted(metadata)
    assert (prediction["request_id"], prediction["predicted_class"]) == (metadata["request-id"], metadata["prediction"])
    assert float(metadata["confidence"]) == pytest.approx(prediction["confidence"], abs=0.01)  # of the stored copy
    assert (digest, (451, 300)) == (hashlib.sha256(photo).hexdigest(), Image.open(io.BytesIO(photo)).size)
    wanted = {"message": "feedback", "feedback_for": prediction["request_id"], "contribution": digest}
    assert function.runtime.log_line(lambda line: line.items() >= wanted.items())
    assert json.loads(function.runtime.log_line(lambda line: "Contributions" in line))["Contributions"] == [1.0]


def test_photo_of_a_program_is_shrunk_and_stripped(client, function):
    """A photo of 1.4 megapixels with EXIF data is stored with 512 pixels on the short side and without them."""
    exif = Image.Exif()
    exif[0x010E] = "s3cret"
    photo = encode(draw("cat", 1, 1200), exif=exif)
    request_id = client.post("/predict", files={"file": photo}).json()["request_id"]
    assert 200 == contribute(client, photo, "cat", request_id).status_code
    [(_, copy)] = function.stored()
    image = Image.open(io.BytesIO(copy))
    assert (512, {}) == (min(image.size), dict(image.getexif()))
    assert b"s3cret" not in copy


def test_photo_without_consent_is_not_stored(client, function, cat_jpg):
    """Without consent, there is an error and no object."""
    request_id = client.post("/predict", files={"file": cat_jpg}).json()["request_id"]
    answer = contribute(client, cat_jpg, "cat", request_id, consent="false")
    assert (422, "no_consent") == (answer.status_code, answer.json()["error"]["code"])
    assert [] == function.list_keys()
