"""Test JPEG files that are damaged, crafted or followed by other data."""

import struct

import numpy as np
import pytest
from PIL import Image

from lambda_app.decoding import jpeg
from lambda_app.errors import DamagedPhoto, PhotoTooLarge, UnsupportedPhoto
from lambda_app.preprocess import decode, preprocess, read_header
from tests.support.drawing import encode_image
from tests.support.photo_files import photo

TAIL = np.random.default_rng(1).bytes(300_000)


def noise(side: int = 128) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 255, (side, side, 3), np.uint8))


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize(
    "tail", [b"", b"\0" * 1000, b"vendor trailer" * 100, TAIL], ids=["no", "zero", "text", "video"]
)
@pytest.mark.parametrize("end", [b"", b"\xff\xd9"], ids=["without", "with"])
def test_jpeg_is_complete_whatever_follows_its_last_scan(progressive, tail, end):
    """A missing end marker or appended data do not damage the picture."""
    plain = encode_image(photo(), "JPEG", progressive=progressive)
    np.testing.assert_array_equal(np.asarray(decode(plain)), np.asarray(decode(plain[:-2] + end + tail)))


@pytest.mark.parametrize("progressive", [False, True])
def test_jpeg_with_missing_pixels_is_damaged(progressive):
    """The cut may be at any position in its scans."""
    plain = encode_image(noise(), "JPEG", progressive=progressive)
    start = plain.index(b"\xff\xda") + 20
    for length in [*range(start, len(plain) - 3, (len(plain) - start) // 40), len(plain) - 4]:
        with pytest.raises(DamagedPhoto):
            preprocess(plain[:length], 32)


def test_jpeg_in_an_uncommon_coding_is_refused_by_name():
    """The error for a lossless or 12-bit JPEG names its coding process; browsers do not show these either."""
    plain = encode_image(photo(), "JPEG")
    frame = plain.index(b"\xff\xc0")
    for changed in (
        plain[: frame + 1] + b"\xc3" + plain[frame + 2 :],
        plain[: frame + 4] + b"\x0c" + plain[frame + 5 :],
    ):
        with pytest.raises(UnsupportedPhoto, match=r"coding process FFC\d, \d+ bits and 3 components"):
            preprocess(changed, 32)


@pytest.mark.parametrize("segment", [b"\xff\xe1\0\x0aExif\0\0II", b"\xff\xe2\0\2", b"\xff\xed\0\4ab"])
def test_jpeg_with_too_many_segments_is_refused_before_pillow_reads_it(segment, monkeypatch):
    """200,000 segments raise `DamagedPhoto` before Pillow reads the file, which takes quadratic time."""
    monkeypatch.delattr("PIL.ImageFile.ImageFile.__init__")
    plain = encode_image(photo(), "JPEG")
    with pytest.raises(DamagedPhoto, match=f"more than {jpeg.MAX_SEGMENTS} segments"):
        preprocess(plain[:2] + segment * 200_000 + plain[2:], 32)


def test_jpeg_with_too_many_scans_is_refused_before_pillow_reads_it(monkeypatch):
    """100 further scans raise `DamagedPhoto` before Pillow reads the file."""
    monkeypatch.delattr("PIL.ImageFile.ImageFile.__init__")
    plain = encode_image(photo(), "JPEG", progressive=True)
    last = plain.rindex(b"\xff\xda")
    with pytest.raises(DamagedPhoto, match=f"more than {jpeg.MAX_SCANS} scans"):
        preprocess(plain[:last] + plain[last:-2] * 100 + plain[-2:], 32)


def test_jpeg_with_many_pixels_and_scans_is_too_large():
    """25 megapixels with 50 further scans raise `PhotoTooLarge`: the estimate of CPU time includes both."""
    plain = encode_image(photo(), "JPEG", progressive=True)
    frame, last = plain.index(b"\xff\xc2"), plain.rindex(b"\xff\xda")
    large = plain[: frame + 5] + struct.pack(">HH", 5000, 5000) + plain[frame + 9 :]
    last += len(large) - len(plain)
    with pytest.raises(PhotoTooLarge, match=r"takes up to \d+ MB and \d+\.\d s"):
        read_header(large[:last] + large[last:-2] * 50 + large[-2:])
