"""Test the function with an independent client of the Open Inference Protocol, Triton's."""

from collections.abc import Iterator
from typing import Any

import httpx2
import numpy as np
import pytest
from tritonclient.http import InferenceServerClient, InferInput, InferRequestedOutput
from tritonclient.utils import InferenceServerException

from infra.emulator.serve import background
from lambda_app.app import create_app
from lambda_app.classifier import Classifier
from lambda_app.preprocess import preprocess
from lambda_app.settings import Settings
from tests.support import ROOT
from tests.support.waiting import DEADLINE_S

SAMPLES = ROOT / "data/samples"
PHOTOS = [(SAMPLES / name).read_bytes() for name in ("cat.jpg", "neither.jpg")]
MODEL, NETWORK = "pet-classifier", "pet-classifier-network"


@pytest.fixture(scope="module", params=["server", pytest.param("function URL", marks=pytest.mark.rie)])
def url(request: pytest.FixtureRequest, released_classifier: Classifier) -> Iterator[str]:
    """Yield the URL of uvicorn, as in the containers, and of Lambda's runtime behind a function URL."""
    if request.param == "server":
        with background(create_app(released_classifier, Settings(log_level="ERROR"))) as url:
            yield url
    else:
        yield request.getfixturevalue("function").url


@pytest.fixture(scope="module")
def client(url: str) -> Iterator[InferenceServerClient]:
    with InferenceServerClient(
        url.removeprefix("http://"), connection_timeout=DEADLINE_S, network_timeout=DEADLINE_S
    ) as client:
        yield client


@pytest.fixture(scope="module")
def images(released_classifier: Classifier) -> np.ndarray:
    return np.stack([preprocess(photo, released_classifier.metadata.image_size).pixels for photo in PHOTOS])


def tensor(name: str, datatype: str, values: np.ndarray, **how: Any) -> InferInput:
    return InferInput(name, list(values.shape), datatype).set_data_from_numpy(values, **how)


def photos(*shape: int) -> InferInput:
    return tensor("photos", "BYTES", np.array(PHOTOS, object).reshape(shape))


def test_server_and_models_are_ready(client: InferenceServerClient, released_classifier: Classifier) -> None:
    """Both models are ready, with and without their version; unknown models are not."""
    version = released_classifier.metadata.model_version
    assert (True, True) == (client.is_server_live(), client.is_server_ready())
    assert [True, True, False] == [client.is_model_ready(name) for name in (MODEL, NETWORK, "cats")]
    assert [True, False] == [client.is_model_ready(MODEL, version) for version in (version, "1")]
    assert [version] == client.get_model_metadata(NETWORK, version)["versions"]
    assert "binary_tensor_data" in client.get_server_metadata()["extensions"]


@pytest.mark.parametrize("shape", [(2,), (2, 1)])
@pytest.mark.parametrize("compression", [None, "gzip", "deflate"])
def test_binary_photos_match_native_route(
    client: InferenceServerClient, url: str, shape: tuple[int, ...], compression: str | None
) -> None:
    """Binary photos, compressed or not, have the predictions of the native route, returned in binary."""
    result = client.infer(MODEL, [photos(*shape)], request_id="mine", request_compression_algorithm=compression)
    headers = {"content-type": "image/jpeg", "x-synthetic": "true"}
    native = [
        httpx2.post(f"{url}/predict", content=photo, headers=headers, trust_env=False, timeout=DEADLINE_S).json()
        for photo in PHOTOS
    ]
    assert [answer["predicted_class"].encode() for answer in native] == result.as_numpy("predicted_class").tolist()
    assert [answer["unknown"] for answer in native] == result.as_numpy("unknown").tolist()
    expected = [list(answer["probabilities"].values()) for answer in native]
    np.testing.assert_allclose(expected, result.as_numpy("probabilities"), atol=1e-5)
    assert "mine" == result.get_response()["id"]
    [one, other] = result.as_numpy("request_id")
    assert (36, True) == (len(one), one != other)


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("answer_in_binary", [True, False])
def test_network_returns_numbers_of_onnx_runtime(
    client: InferenceServerClient,
    released_classifier: Classifier,
    images: np.ndarray,
    *,
    binary: bool,
    answer_in_binary: bool,
) -> None:
    """Images as binary or JSON give the numbers of ONNX Runtime in either form."""
    names = ("logits", "familiarity", "unknown")
    outputs = [InferRequestedOutput(name, binary_data=answer_in_binary) for name in names]
    result = client.infer(NETWORK, [tensor("images", "UINT8", images, binary_data=binary)], outputs=outputs)
    expected = released_classifier.run(images)
    np.testing.assert_allclose(expected.logits, result.as_numpy("logits"), rtol=1e-6)
    np.testing.assert_allclose(expected.familiarity, result.as_numpy("familiarity"), rtol=1e-6)
    assert [False, True] == result.as_numpy("unknown").tolist()
    assert None is result.as_numpy("probabilities")


def test_class_count_returns_highest_classes(client: InferenceServerClient) -> None:
    """`class_count` returns value, index and class."""
    outputs = [InferRequestedOutput("probabilities", class_count=2)]
    [[best, second], _] = client.infer(MODEL, [photos(2)], outputs=outputs).as_numpy("probabilities")
    assert (b"0:cat", b"1:dog") == (best.split(b":", 1)[1], second.split(b":", 1)[1])


def test_error_has_a_message(client: InferenceServerClient, images: np.ndarray) -> None:
    """The client shows the error's message; it would fail on an object."""
    bad = np.array([PHOTOS[0], b"text"], object)
    for model, given, message in (
        (MODEL, tensor("photos", "BYTES", bad), "[415] photo 2 of 2: the file is not a supported image"),
        (NETWORK, tensor("images", "UINT8", images[:, :, 1:]), "[422] the shape of images is [2, 3, 223, 224]"),
        ("cats", photos(2), "[404] there is no model 'cats'"),
    ):
        with pytest.raises(InferenceServerException) as raised:
            client.infer(model, [given])
        assert str(raised.value).startswith(message)
