"""Test animated WebP files and GIF files with crafted frames and comments."""

import struct

import pytest
from PIL import Image

from lambda_app.decoding import gif
from lambda_app.errors import DamagedPhoto
from lambda_app.preprocess import decode, preprocess
from tests.support.drawing import encode_image
from tests.support.photo_files import gifs


def animated_webp(canvas: tuple[int, int], corner: tuple[int, int], side: int) -> bytes:
    """Return an animation with one lossless, red frame of `side` x `side` pixels, in under 200 bytes."""
    frame = encode_image(Image.new("RGB", (side, side), "red"), "WEBP", lossless=True)[12:]

    def sized(*numbers: int) -> bytes:
        return b"".join(number.to_bytes(3, "little") for number in numbers)

    frame = sized(corner[0] // 2, corner[1] // 2, side - 1, side - 1, 100) + b"\0" + frame
    chunks = [(b"VP8X", b"\2\0\0\0" + sized(canvas[0] - 1, canvas[1] - 1)), (b"ANIM", bytes(6)), (b"ANMF", frame)]
    body = b"".join(kind + struct.pack("<I", len(content)) + content for kind, content in chunks)
    return b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WEBP" + body


def test_webp_frame_on_its_canvas_is_decoded():
    """The rest of the canvas is white."""
    actual = decode(animated_webp((40, 30), (20, 10), 16))
    assert ((40, 30), (255, 255, 255)) == (actual.size, actual.getpixel((5, 5)))
    assert (255, 0, 0) == actual.getpixel((25, 15))


@pytest.mark.parametrize(("canvas", "corner"), [((1, 1), (0, 0)), ((64, 64), (2, 0)), ((64, 64), (0, 2))])
def test_webp_frame_beyond_its_canvas_is_damaged_before_pillow_reads_it(canvas, corner, monkeypatch):
    """The frame decides the cost of decoding; the canvas may state only 1 x 1 pixel."""
    data = animated_webp(canvas, corner, 64)
    monkeypatch.delattr("PIL.ImageFile.ImageFile.__init__")
    with pytest.raises(DamagedPhoto, match=r"a frame of 64x64 pixels .* does not fit its canvas"):
        preprocess(data, 32)


def test_gif_with_too_many_blocks_is_refused_before_pillow_reads_it(monkeypatch):
    """A million blocks raise `DamagedPhoto` before Pillow reads the file."""
    monkeypatch.delattr("PIL.ImageFile.ImageFile.__init__")
    plain = dict(gifs())["plain"]
    start = plain.index(b"," + bytes(4), 13)
    for comment in (b"!\xfe" + b"\1c" * 2_000_000 + b"\0", b"!\xfe\0" * 1_000_000):
        with pytest.raises(DamagedPhoto, match=f"more than {gif.MAX_BLOCKS}"):
            preprocess(plain[:start] + comment + plain[start:], 32)
