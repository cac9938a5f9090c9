"""Check that the network input of a file equals what Chromium shows."""

import base64

import numpy as np
import pytest
from PIL import Image

from lambda_app.errors import RequestError
from lambda_app.preprocess import preprocess
from tests.support.chromium import started_chromium
from tests.support.drawing import encode_image
from tests.support.photo_files import MAX_DIFFERENCE, exif, files, photo

SIZE = 32
DRAW = """async ([data, type]) => {
  const image = new Image();
  image.src = `data:image/${type};base64,${data}`;
  try { await image.decode(); } catch { return null; }
  const canvas = new OffscreenCanvas(image.naturalWidth, image.naturalHeight);
  const context = canvas.getContext("2d");
  context.fillStyle = "white";
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.drawImage(image, 0, 0);
  const pixels = context.getImageData(0, 0, canvas.width, canvas.height).data;
  return [canvas.width, canvas.height, btoa(String.fromCharCode(...pixels))];
}"""
FILES = {f"{image_format} {name}": (image_format, data) for image_format, name, data in files()}


@pytest.fixture(scope="module")
def blank_page():
    with started_chromium() as browser:
        yield browser.new_page()


def shown(page, image_format: str, data: bytes) -> np.ndarray | None:
    """Return the network input of Chromium's pixels, or None if Chromium shows nothing."""
    answer = page.evaluate(DRAW, [base64.b64encode(data).decode(), image_format.lower()])
    if answer is None:
        return None
    width, height, pixels = answer
    raster = np.frombuffer(base64.b64decode(pixels), np.uint8).reshape(height, width, 4)[..., :3]
    return preprocess(encode_image(Image.fromarray(raster), "PNG"), SIZE).pixels


# Chromium does not show the stored picture of these files, so the stored picture is expected.
DIFFERS_IN_CHROMIUM = {
    "JPEG no end marker": "its last rows are missing",
    **{f"WEBP orientation {number}": "EXIF of a WebP is ignored" for number in range(2, 9)},
    "AVIF RGBA 4:4:4": "alpha is stretched from limited to full range",
    "AVIF RGBA 4:2:0": "alpha is stretched from limited to full range",
    "AVIF sequence": "colors are stretched from limited to full range",
}
REFUSED = {name for name in FILES if name.startswith("BMP 32 bits by ff and 0 ")}  # by Pillow


@pytest.mark.browser
@pytest.mark.parametrize("name", [name for name in FILES if name not in DIFFERS_IN_CHROMIUM.keys() | REFUSED])
def test_decoding_equals_what_chromium_shows(blank_page, name):
    """The inputs differ by at most 3 of 255 on average, and files that Chromium does not show are refused."""
    image_format, data = FILES[name]
    expected = shown(blank_page, image_format, data)
    if expected is None:
        with pytest.raises(RequestError):
            preprocess(data, SIZE)
        return
    assert difference(expected, preprocess(data, SIZE).pixels) <= MAX_DIFFERENCE


@pytest.mark.browser
@pytest.mark.parametrize("name", DIFFERS_IN_CHROMIUM)
def test_decoding_gives_the_stored_picture_if_chromium_does_not(blank_page, name):
    """Chromium's pixels differ from the stored picture, and the network input does not."""
    image_format, data = FILES[name]
    original = photo("RGBA" if "RGBA" in name else "RGB")
    number = int(name[-1]) if "orientation" in name else 1
    expected = preprocess(encode_image(original, "PNG", exif=exif(number)), SIZE).pixels
    in_chromium = shown(blank_page, image_format, data)
    assert in_chromium is None or difference(expected, in_chromium) > MAX_DIFFERENCE
    assert difference(expected, preprocess(data, SIZE).pixels) <= MAX_DIFFERENCE


def difference(expected: np.ndarray, actual: np.ndarray) -> float:
    return float(np.abs(expected.astype(int) - actual).mean())
