"""Test explanations in the API with the tiny model: red counts toward cat and blue toward dog, pixel by pixel."""

import base64
from io import BytesIO

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from lambda_app.app import create_app
from lambda_app.classifier import Classifier
from lambda_app.explanation import encode_png, find_rectangle
from lambda_app.preprocess import preprocess
from lambda_app.settings import Settings
from tests.support import tiny_model
from tests.support.drawing import encode_image
from tests.support.photo_files import exif
from tests.support.uploads import assert_error

SIDE = tiny_model.METADATA.image_size


def half_red(size, image_format="PNG", **options) -> bytes:
    """Return a gray photo whose left half is red."""
    image = Image.new("RGB", size, "gray")
    image.paste("red", (0, 0, size[0] // 2, size[1]))
    return encode_image(image, image_format, **options)


def decode_map(explanation) -> np.ndarray:
    image = Image.open(BytesIO(base64.b64decode(explanation["png"])))
    assert ("PNG", "L", (explanation["width"], explanation["height"])) == (image.format, image.mode, image.size)
    return np.asarray(image)


@pytest.fixture
def old_client(tmp_path):
    """Return a client of a server whose model was released without activation maps."""
    classifier = Classifier.load(tiny_model.write(tmp_path / "old.onnx", with_map=False))
    return TestClient(create_app(classifier, Settings(log_level="ERROR")))


def test_map_is_bright_where_the_photo_counts_toward_the_class(client):
    """The map of a cat is bright where the photo is red, and black elsewhere."""
    explanation = client.post("/predict?explain=1", content=half_red((64, 64))).json()["explanation"]
    gray = decode_map(explanation)
    assert ((SIDE, SIDE), 255, 0) == (gray.shape, gray[:, : SIDE // 2 - 2].min(), gray[:, SIDE // 2 + 2 :].max())
    assert pytest.approx(255 / 64, abs=0.01) == explanation["peak"]
    assert {"left": 0, "top": 0, "width": 1, "height": 1} == explanation["rectangle"]


@pytest.mark.parametrize(
    ("size", "rectangle"),
    [((200, 100), (0.25, 0, 0.5, 1)), ((100, 400), (0, 0.375, 1, 0.25)), ((50, 50), (0, 0, 1, 1))],
)
def test_rectangle_is_the_central_square(size, rectangle):
    """The rectangle is in shares of the photo's width and height."""
    assert rectangle == pytest.approx(tuple(find_rectangle(*size).model_dump().values()))


@pytest.mark.parametrize(
    ("orientation", "red", "rectangle"),
    [
        (1, "left", (0.2, 0, 0.6, 1)),
        (3, "right", (0.2, 0, 0.6, 1)),
        (6, "top", (0, 0.2, 1, 0.6)),
        (8, "bottom", (0, 0.2, 1, 0.6)),
    ],
)
def test_map_and_rectangle_are_upright(client, orientation, red, rectangle):
    """Both are those of the photo as viewers show it, after its EXIF orientation."""
    data = half_red((160, 96), "JPEG", quality=95, subsampling=0, exif=exif(orientation))
    explanation = client.post("/predict?explain=1", content=data).json()["explanation"]
    gray = decode_map(explanation).astype(float)
    half = SIDE // 2
    halves = {"left": gray[:, :half], "right": gray[:, half:], "top": gray[:half], "bottom": gray[half:]}
    assert red == max(halves, key=lambda name: halves[name].mean())
    assert rectangle == pytest.approx(tuple(explanation["rectangle"].values()))


def test_upright_size_has_the_shape_of_a_photo_decoded_at_a_smaller_scale():
    """A big JPEG is decoded at a fraction of its size; the shares stay those of the whole photo."""
    photo = preprocess(half_red((1600, 800), "JPEG"), 100)
    assert ((1600, 800), 2.0) == ((photo.width, photo.height), photo.upright_size[0] / photo.upright_size[1])
    assert photo.upright_size < (1600, 800)


def test_each_photo_of_a_batch_has_its_explanation(client, encode):
    """Each prediction of a batch has its own map and rectangle; a photo that cannot be read has only its error."""
    photos = [half_red((64, 64)), b"text", encode("blue", (100, 50)), *[encode("red")] * 3]
    answers = client.post("/predict/batch?explain=1", files=[("file", ("x", data)) for data in photos]).json()
    alone = client.post("/predict?explain=1", content=photos[0]).json()
    assert [True, False, *[True] * 4] == ["explanation" in answer for answer in answers]
    assert alone["explanation"] == answers[0]["explanation"]
    assert (0.5, 255) == (answers[2]["explanation"]["rectangle"]["width"], decode_map(answers[2]["explanation"]).min())


@pytest.mark.parametrize("query", ["", "?explain=0", "?other=1"])
def test_explanation_is_only_given_on_request(client, encode, query):
    """Without `explain=1`, the answer has no explanation, and the rest is the same as with it."""
    plain = client.post(f"/predict{query}", content=encode("red")).json()
    explained = client.post("/predict?explain=1", content=encode("red")).json()
    assert {"explanation"} == explained.keys() - plain.keys()
    assert plain["probabilities"] == explained["probabilities"]


@pytest.mark.parametrize("path", ["/predict", "/predict/batch"])
@pytest.mark.parametrize("value", ["true", "", "2"])
def test_other_values_are_refused(client, encode, path, value):
    """The error names the value and those that are accepted."""
    answer = client.post(f"{path}?explain={value}", files={"file": ("x.jpg", encode("red"))})
    assert_error(answer, 422, "bad_field", f"explain is {value!r}; expected 1 or 0")


@pytest.mark.parametrize("path", ["/predict", "/predict/batch"])
def test_model_without_map_is_named_in_the_error(old_client, encode, path):
    """A model without activation maps still classifies; the error of a request for a map names the missing output."""
    files = {"file": ("x.jpg", encode("red"))}
    assert 200 == old_client.post(path, files=files).status_code
    answer = old_client.post(f"{path}?explain=1", files=files)
    expected = "the file of model 2026.01.01-tiny has no output `activation_map`"
    assert_error(answer, 422, "no_explanation", expected)


def test_map_without_evidence_is_black():
    """A map without positive values is black, and does not divide by zero."""
    for value in (0, -1):
        assert 0 == np.asarray(Image.open(BytesIO(encode_png(np.full((2, 3), value, np.float32))))).max()
