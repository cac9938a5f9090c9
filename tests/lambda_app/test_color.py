"""Test color profiles and EXIF orientations in every format, and the refusal of HDR."""

import struct

import pytest
from PIL import Image

from lambda_app.decoding.color import Colorimetry, build_profile, to_srgb
from lambda_app.decoding.header import read_orientation
from lambda_app.errors import UnsupportedPhoto
from lambda_app.preprocess import decode
from tests.support.drawing import encode_image
from tests.support.photo_files import MAX_DIFFERENCE, PROFILES, difference, exif, photo, png


@pytest.mark.parametrize("name", [name for name in PROFILES if name not in {"broken", "srgb"}])
@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_color_profile_is_converted_to_srgb(name, image_format):
    """The colors change visibly, by the same amount in every format."""
    lossless = {"JPEG": {"quality": 100, "subsampling": 0}, "WEBP": {"lossless": True}}.get(image_format, {})
    expected = to_srgb(photo(), PROFILES[name])
    assert difference(expected, photo()) > MAX_DIFFERENCE
    actual = decode(encode_image(photo(), image_format, icc_profile=PROFILES[name], **lossless))
    assert difference(expected, actual) <= MAX_DIFFERENCE


@pytest.mark.parametrize("name", ["broken", "srgb"])
@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
def test_color_profile_without_an_effect_is_ignored(name, mode):
    """A profile has no effect if it is broken, is sRGB, or is for other colors than the photo has."""
    image = photo(mode)
    expected = decode(encode_image(image, "TIFF"))
    assert 0 == difference(expected, decode(encode_image(image, "TIFF", icc_profile=PROFILES[name])))


@pytest.mark.parametrize("length", [128, 200, 300])
def test_truncated_color_profile_is_ignored(length):
    """A profile whose header is intact but whose tables are cut has no effect."""
    profile = PROFILES["linear"][:length]
    assert 0 == difference(photo(), decode(encode_image(photo(), "TIFF", icc_profile=profile)))


@pytest.mark.parametrize(("mode", "color"), [("L", 128), ("LA", (128, 255))])
def test_gray_profile_is_converted(mode, color):
    """A gray photo with a linear curve becomes much brighter, with or without an alpha channel."""
    linear = b"".join([PROFILES["linear"][:16], b"GRAY", PROFILES["linear"][20:]]).replace(b"rTRC", b"kTRC")
    half = Image.new(mode, (16, 16), color)
    assert (188, 188, 188) == decode(encode_image(half, "PNG", icc_profile=linear)).getpixel((8, 8))


@pytest.mark.parametrize(
    "numbers", [((2.2,), (0.3, 0.3) * 3), ((2.2,), (0.64, 0.33, 0.3, 0.6, 0.15, 0.0)), ((2.2,), (9.0,) * 6)]
)
def test_colorimetry_with_impossible_primaries_is_ignored(numbers):
    """Primaries may lie on a line, emit no light, or lie far outside the visible colors."""
    assert build_profile(Colorimetry(*numbers)) is None


@pytest.mark.parametrize("transfer", [16, 18])
def test_hdr_is_refused_by_name(transfer):
    """The error for PQ and HLG names HDR."""
    with pytest.raises(UnsupportedPhoto, match=r"HDR \((PQ|HLG)\); expected standard dynamic range"):
        decode(png(2, 8, (b"cICP", bytes([9, transfer, 0, 1]))))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("order", ["<", ">"])
def test_exif_orientation_is_read_in_both_byte_orders(order, orientation):
    """The value may be SHORT or LONG, with and without the prefix of JPEG."""
    mark = b"II*\0" if order == "<" else b"MM\0*"
    for kind, value in ((3, struct.pack(order + "HH", orientation, 0)), (4, struct.pack(order + "I", orientation))):
        block = mark + struct.pack(order + "IHHHI", 8, 1, 0x0112, kind, 1) + value
        assert orientation == read_orientation(block) == read_orientation(b"Exif\0\0" + block)


@pytest.mark.parametrize(
    "block", [b"", b"II", b"II*\0\xff\xff\xff\xff" + bytes(9), b"MM\0*\0\0\0\x08\xff\xff", b"garbage" * 9]
)
def test_exif_that_is_broken_means_upright(block):
    """Broken metadata never causes an error."""
    assert 1 == read_orientation(block)


def test_exif_orientation_and_color_profile_are_both_applied():
    """A JPEG with an orientation and a profile is turned upright and converted to sRGB."""
    data = encode_image(photo(), "JPEG", exif=exif(3), icc_profile=PROFILES["display-p3"], quality=100, subsampling=0)
    expected = to_srgb(photo().transpose(Image.Transpose.ROTATE_180), PROFILES["display-p3"])
    assert difference(expected, decode(data)) <= MAX_DIFFERENCE
