"""Test the photos of the benchmark."""

from io import BytesIO

import pytest
from PIL import Image

from infra.bench.photos import bench_photos, draw_photo
from lambda_app.settings import Settings

pytestmark = pytest.mark.slow  # draws photos of up to 12 megapixels


@pytest.fixture(scope="module")
def photos():
    return {each.name: each for each in bench_photos()}


def test_photo_matches_its_name(photos):
    """Each photo has the format and the megapixels that its name states."""
    decoded = {}
    for name, each in photos.items():
        with Image.open(BytesIO(each.data)) as image:
            decoded[name] = (image.format, round(image.width * image.height / 1e6, 1))
    expected = {"500x375": 0.2, "4mp": 4.0, "12mp": 12.0, "png": 0.8, "webp": 0.8}
    formats = {"png": "PNG", "webp": "WEBP"}
    assert {name: (formats.get(name, "JPEG"), size) for name, size in expected.items()} == decoded


def test_photos_fit_into_a_function_url_request(photos):
    """No photo exceeds the limit, above which the function responds with 413."""
    assert max(len(each.data) for each in photos.values()) < Settings().max_image_bytes


def test_jpeg_photos_have_realistic_sizes(photos):
    """Each JPEG has 0.2 to 0.3 bytes per pixel, like those of phones; enlarged without grain, it would have a fifth."""
    shares = [
        len(photos[name].data) / (photos[name].width * photos[name].height) for name in ("500x375", "4mp", "12mp")
    ]
    assert all(0.2 <= share <= 0.3 for share in shares), shares


def test_photos_are_deterministic():
    """Photos of one size have the same bytes whatever their name, so that all runs measure the same."""
    assert draw_photo("a", 64, 48).data == draw_photo("b", 64, 48).data


def test_request_contains_the_photo_as_raw_body(photos):
    """The body is the file, with its content type."""
    request = photos["webp"].request
    assert ("POST", "/predict", photos["webp"].data) == (request.method, request.path, request.body)
    assert "image/webp" == dict(request.headers)["content-type"]
