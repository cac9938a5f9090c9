"""Test PNG files with unusual, damaged and unknown chunks."""

import struct
import zlib

import pytest

from infra.bench.decoding import png_chunk
from lambda_app.errors import DamagedPhoto, UnsupportedPhoto
from lambda_app.preprocess import MAX_PIXELS, decode, preprocess, read_header
from tests.support.photo_files import HEIGHT, WIDTH, difference, photo, picture, png


@pytest.mark.parametrize(
    "kind", [b"zTXt", b"iTXt", b"tEXt", b"iCCP", b"pHYs", b"eXIf", b"gAMA", b"cHRM", b"tIME", b"prVt"]
)
@pytest.mark.parametrize("content", [b"", b"\xff" * 7, b"n\0\0" + zlib.compress(bytes(20_000_000))], ids=len)
@pytest.mark.parametrize("is_intact", [True, False], ids=["intact", "broken"])
def test_png_metadata_never_refuses_a_picture(kind, content, is_intact):
    """Metadata may be broken, oversized, have a wrong checksum, or be repeated a thousand times."""
    chunk = png_chunk(kind, content)[: None if is_intact else -4] + (b"" if is_intact else b"\1\2\3\4")
    plain = png(2, 8)
    actual = decode(plain[:33] + chunk * (1000 if len(content) < 100 else 1) + plain[33:])
    assert 0 == difference(photo(), actual)


@pytest.mark.parametrize("kind", [b"IHDR", b"PLTE", b"IDAT"])
def test_png_with_a_broken_critical_chunk_is_damaged(kind):
    """The checksum detects one changed bit."""
    data = bytearray(png(3, 8, palette=bytes(range(256)) * 3))
    offset = data.index(kind)
    data[offset + 6] ^= 1
    with pytest.raises(DamagedPhoto, match=f"chunk b'{kind.decode()}' has a wrong checksum"):
        preprocess(bytes(data), 32)


def test_png_with_an_unknown_critical_chunk_is_unsupported():
    """An unknown critical chunk raises `UnsupportedPhoto` with its name."""
    plain = png(2, 8)
    with pytest.raises(UnsupportedPhoto, match="critical chunk b'ABCD'"):
        preprocess(plain[:33] + png_chunk(b"ABCD", b"") + plain[33:], 32)


def test_png_in_many_chunks_is_read():
    """The pixels may be stored in one chunk for each byte, with empty chunks between."""
    plain = png(2, 8)
    start = plain.index(b"IDAT") - 4
    length = int.from_bytes(plain[start : start + 4], "big")
    pixels = plain[start + 8 : start + 8 + length]
    chunks = b"".join(png_chunk(b"IDAT", bytes([byte])) + png_chunk(b"IDAT", b"") for byte in pixels)
    assert 0 == difference(photo(), decode(plain[:start] + chunks + png_chunk(b"IEND", b"")))


@pytest.mark.parametrize("color_type", [0, 2])
def test_png_of_16_bits_with_a_transparent_color_is_composited_over_white(color_type):
    """Pillow compares the color with 8-bit samples, so it needs scaling."""
    channels = {0: 1, 2: 3}[color_type]
    corner = (picture()[-1, -1, :channels] * 65535).round().astype(int)
    actual = decode(png(color_type, 16, (b"tRNS", struct.pack(f">{channels}H", *corner))))
    assert (255, 255, 255) == actual.getpixel((WIDTH - 1, HEIGHT - 1))
    assert (255, 255, 255) != actual.getpixel((0, 0))


def test_png_without_its_end_chunk_is_complete():
    """A PNG without IEND is decoded completely."""
    assert 0 == difference(photo(), decode(png(2, 8)[:-12]))


@pytest.mark.parametrize("gamma", [1, 2, 3, 4, 2**31])
def test_png_with_an_invalid_gamma_ignores_it(gamma):
    """The picture is neither refused nor black."""
    assert 0 == difference(photo(), decode(png(2, 8, (b"gAMA", struct.pack(">I", gamma)))))


def test_png_color_profile_over_the_limit_is_ignored():
    """A color profile of 5 MB is ignored, like one in another format; it is not cut off."""
    data = png(2, 8, (b"iCCP", b"name\0\0" + zlib.compress(bytes(5_000_000))))
    assert read_header(data, MAX_PIXELS).load(None).profile is None
