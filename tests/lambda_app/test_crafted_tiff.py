"""Test TIFF files whose directory has unusual or malicious entries."""

import struct

import numpy as np
import pytest
from PIL import Image

from lambda_app.errors import DamagedPhoto
from lambda_app.preprocess import decode, preprocess
from tests.support.drawing import encode_image
from tests.support.photo_files import HEIGHT, WIDTH, photo
from tests.support.tiff_files import BLACK_IS_ZERO, BYTE, LONG, PALETTE, RGB, SHORT, Tiff, find_tag, with_entry


@pytest.mark.parametrize(("kind", "character"), [(BYTE, "B"), (LONG, "I")], ids=["BYTE", "LONG"])
def test_tiff_color_map_of_another_type_is_read(kind, character):
    """The specification requires SHORT; Pillow would read the rebuilt map with the type of the file."""
    data = Tiff(PALETTE, 8, color_map_factor=1).file()
    count, start = struct.unpack_from("<II", data, find_tag(data, 320) + 4)
    colors = struct.unpack_from(f"<{count}H", data, start)
    other = with_entry(data, 320, kind, count, len(data)) + struct.pack(f"<{count}{character}", *colors)
    np.testing.assert_array_equal(np.asarray(decode(data)), np.asarray(decode(other)))


def test_tiff_with_too_many_strips_is_refused_before_pillow_reads_it(monkeypatch):
    """A million strips raise `DamagedPhoto` before Pillow creates an object for each."""
    monkeypatch.delattr("PIL.TiffImagePlugin.TiffImageFile.__init__")
    data = Tiff(BLACK_IS_ZERO, 8).file()
    many = with_entry(data, 273, LONG, 1_000_000, len(data))
    with pytest.raises(DamagedPhoto, match="tag 273 of the TIFF has 1000000 values; at most"):
        preprocess(many + bytes(4_000_000), 32)


@pytest.mark.parametrize("tag", [257, 258, 277, 278])
def test_tiff_with_too_many_values_in_a_tag_is_damaged(tag):
    """A tag with 4,000,000 values raises `DamagedPhoto` with its number."""
    many = with_entry(Tiff(BLACK_IS_ZERO, 8).file(), tag, BYTE, 4_000_000, 8)
    with pytest.raises(DamagedPhoto, match=f"tag {tag} of the TIFF has 4000000 values; at most 1000 are read"):
        preprocess(many + bytes(4_000_000), 32)


def test_tiff_with_values_outside_the_file_is_damaged():
    """The error names the tag."""
    data = with_entry(Tiff(PALETTE, 8).file(), 320, SHORT, 3 * 256, 0x7FFFFFFF)
    with pytest.raises(DamagedPhoto, match="the value of tag 320 lies outside the TIFF"):
        preprocess(data, 32)


def test_tiff_with_several_values_in_a_single_value_tag_is_read():
    """The first value counts. A warning from Pillow would fail the test."""
    data = Tiff(RGB, 8).file()
    many = with_entry(data, 278, SHORT, 9, len(data)) + HEIGHT.to_bytes(2, "little") * 9
    np.testing.assert_array_equal(np.asarray(decode(data)), np.asarray(decode(many)))


def test_tiff_metadata_never_causes_an_error():
    """Large private tags are ignored."""
    data = encode_image(photo(), "TIFF", tiffinfo={274: 6, 270: "x" * 100_000, 33432: "y" * 1000})
    assert (WIDTH, HEIGHT) == (preprocess(data, 32).width, preprocess(data, 32).height)
    np.testing.assert_array_equal(np.asarray(decode(data)), np.asarray(photo().transpose(Image.Transpose.ROTATE_270)))
