"""The photos of the benchmark."""

from io import BytesIO

import pytest
from PIL import Image

from infra.bench.photos import bench_photos, photo
from lambda_app.settings import Settings


@pytest.fixture(scope="module")
def photos():
    return {each.name: each for each in bench_photos()}


def test_the_photos_are_those_of_the_contract(photos):
    """artifacts/bench.json names five."""
    assert ["500x375", "4mp", "12mp", "png", "webp"] == list(photos)


def test_a_photo_is_what_its_name_says(photos):
    """Format and megapixels, as a decoder sees them."""
    seen = {}
    for name, each in photos.items():
        with Image.open(BytesIO(each.data)) as image:
            seen[name] = (image.format, round(image.width * image.height / 1e6, 1))
    expected = {"500x375": 0.2, "4mp": 4.0, "12mp": 12.0, "png": 0.8, "webp": 0.8}
    formats = {"png": "PNG", "webp": "WEBP"}
    assert {name: (formats.get(name, "JPEG"), size) for name, size in expected.items()} == seen


def test_every_photo_is_small_enough_for_a_function_url(photos):
    """Otherwise the function would answer 413 and the benchmark would measure that."""
    assert max(len(each.data) for each in photos.values()) < Settings().max_image_bytes


def test_the_bytes_of_a_jpeg_are_those_of_a_phone(photos):
    """0.2 to 0.3 bytes a pixel: an enlargement without grain would have a fifth of that."""
    shares = [
        len(photos[name].data) / (photos[name].width * photos[name].height) for name in ("500x375", "4mp", "12mp")
    ]
    assert all(0.2 <= share <= 0.3 for share in shares), shares


def test_a_photo_is_the_same_in_every_run():
    """Figures of two runs are about the same bytes."""
    assert photo("a", 64, 48).data == photo("b", 64, 48).data


def test_the_request_carries_the_photo_as_it_is(photos):
    """As the raw body with its type."""
    request = photos["webp"].request
    assert ("POST", "/predict", photos["webp"].data) == (request.method, request.path, request.body)
    assert "image/webp" == dict(request.headers)["content-type"]
