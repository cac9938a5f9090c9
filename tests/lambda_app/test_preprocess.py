"""Test the conversion of photo bytes to network input."""

import numpy as np
import pytest
from PIL import Image

from lambda_app.errors import DamagedPhoto, PhotoTooLarge, UnsupportedPhoto
from lambda_app.preprocess import decode, preprocess
from tests.support.drawing import encode_image
from tests.support.photo_files import bmp, exif

RED, WHITE = [255, 0, 0], [255, 255, 255]
# cat.jpg at 32 x 32, averaged over blocks of 8 x 8, RGB.
CAT = [
    [[152, 137, 127, 155], [150, 111, 171, 142], [152, 153, 157, 146], [172, 161, 134, 161]],
    [[113, 99, 91, 115], [107, 81, 129, 112], [106, 104, 104, 112], [135, 118, 93, 132]],
    [[84, 69, 64, 95], [73, 50, 96, 86], [78, 61, 57, 86], [117, 88, 73, 110]],
]


def center_of(data: bytes) -> list[int]:
    return preprocess(data, 8).pixels[:, 4, 4].tolist()


def test_pixels_of_the_bundled_cat_are_unchanged(cat_jpg):
    """Decoding, cropping and resizing give the recorded pixels, within one gray level on average."""
    pixels = preprocess(cat_jpg, 32).pixels.reshape(3, 4, 8, 4, 8).mean((2, 4))
    np.testing.assert_allclose(pixels, CAT, atol=1)


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"])
def test_preprocess_returns_uint8_channels_first(encode, image_format):
    """A photo of any supported format becomes contiguous uint8 (3, S, S); its format and size are kept."""
    photo = preprocess(encode("red", (64, 48), image_format), 32)
    assert ((3, 32, 32), np.uint8, True) == (photo.pixels.shape, photo.pixels.dtype, photo.pixels.flags.c_contiguous)
    assert (64, 48, image_format) == (photo.width, photo.height, photo.format)
    assert np.abs(photo.pixels[:, 16, 16].astype(int) - RED).max() <= 3


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
def test_preprocess_reads_every_mode_of_png(mode):
    """White stays white in bilevel, gray, palette, alpha and 16-bit files."""
    white = Image.new(mode, (16, 16), 65535 if mode == "I;16" else "white")
    assert WHITE == center_of(encode_image(white, "PNG"))


def test_preprocess_reads_cmyk_jpeg():
    """CMYK without ink is white."""
    assert WHITE == center_of(encode_image(Image.new("CMYK", (16, 16), (0, 0, 0, 0)), "JPEG"))


def test_preprocess_scales_16_bit_gray():
    """Half of 65535 becomes half of 255 and is not clipped."""
    assert [128, 128, 128] == center_of(encode_image(Image.new("I;16", (16, 16), 32768), "PNG"))


@pytest.mark.parametrize("mode", ["I", "F"])
def test_preprocess_refuses_32_bit_modes(mode):
    """32-bit samples raise `UnsupportedPhoto`: viewers do not agree on which value is white."""
    ramp = Image.fromarray(np.tile(np.linspace(1000, 3000, 64), (64, 1)).astype(np.int32)).convert(mode)
    with pytest.raises(UnsupportedPhoto, match=r"1 samples of 32 bits \((signed|floating point)"):
        preprocess(encode_image(ramp, "TIFF"), 64)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_preprocess_composites_transparency_over_white(mode):
    """A fully transparent black photo becomes white."""
    image = Image.new("RGBA", (16, 16), (0, 0, 0, 0))
    data = (
        encode_image(image.convert("P"), "PNG", transparency=0)
        if mode == "P"
        else encode_image(image.convert(mode), "PNG")
    )
    assert WHITE == center_of(data)


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_preprocess_gives_equal_pixels_without_conversion(mode):
    """Resizing gray before its conversion to RGB, and not copying RGB, changes no pixel."""
    noise = np.random.default_rng(0).integers(0, 255, (90, 120, 3), np.uint8)
    image = Image.fromarray(noise).convert(mode)
    expected = preprocess(encode_image(image.convert("RGB"), "PNG"), 32).pixels
    np.testing.assert_array_equal(expected, preprocess(encode_image(image, "PNG"), 32).pixels)
    assert "RGB" == decode(encode_image(image, "PNG")).mode


def test_preprocess_reads_the_first_frame_of_an_animation():
    """A GIF of a red and a blue frame gives red pixels."""
    frames = [Image.new("RGB", (16, 16), color) for color in ("red", "blue")]
    assert RED == center_of(encode_image(frames[0], "GIF", save_all=True, append_images=frames[1:]))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_preprocess_applies_every_exif_orientation(orientation, image_format):
    """A photo stored in any of the eight orientations gives the pixels of the upright photo."""
    upright = np.zeros((64, 64, 3), np.uint8)
    upright[:32, :32], upright[:32, 32:], upright[32:, :32] = (250, 0, 0), (0, 250, 0), (0, 0, 250)
    inverse = {6: Image.Transpose.ROTATE_90, 8: Image.Transpose.ROTATE_270}
    same = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        7: Image.Transpose.TRANSVERSE,
    }
    image, turn = Image.fromarray(upright), (inverse | same).get(orientation)
    lossless = {"WEBP": {"lossless": True}, "JPEG": {"quality": 100, "subsampling": 0}}.get(image_format, {})
    data = encode_image(
        image.transpose(turn) if turn is not None else image, image_format, exif=exif(orientation), **lossless
    )
    corners = preprocess(data, 64).pixels[:, [8, 8, 56, 56], [8, 56, 8, 56]].T.astype(int)
    expected = [[250, 0, 0], [0, 250, 0], [0, 0, 250], [0, 0, 0]]
    assert np.abs(corners - expected).max() <= 4
    assert np.abs(np.asarray(decode(data))[[8, 8, 56, 56], [8, 56, 8, 56]].astype(int) - expected).max() <= 4


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")  # Pillow's warning about the damaged file
def test_preprocess_ignores_damaged_exif(encode):
    """Damaged metadata never causes an error if the pixels can be read."""
    data = encode("red", exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff" + b"\xff" * 40)
    assert np.abs(np.array(center_of(data)) - RED).max() <= 3


def test_preprocess_crops_the_center_square():
    """The sides of a wide photo are cropped, not squeezed."""
    wide = Image.new("RGB", (300, 100), "blue")
    wide.paste("red", (100, 0, 200, 100))
    assert [[255] * 100, [0] * 100] == preprocess(encode_image(wide, "PNG"), 100).pixels[[0, 2], 50].tolist()


def test_preprocess_decodes_large_jpegs_at_a_smaller_scale():
    """Decoding at 1/8 changes a smooth photo by less than 3 of 255 on average."""
    y, x = np.mgrid[0:1600, 0:1600]
    image = np.stack([x * 255 // 1599, y * 255 // 1599, (x + y) * 255 // 3198], -1).astype(np.uint8)
    drafted = preprocess(encode_image(Image.fromarray(image), "JPEG", quality=95), 100).pixels
    full = preprocess(encode_image(Image.fromarray(image), "PNG"), 100).pixels
    assert np.abs(drafted.astype(int) - full).mean() < 3


def test_preprocess_checks_the_pixel_limit_before_decoding(encode, monkeypatch):
    """A picture of 50 x 50 pixels with a limit of 2,000 is refused; the message has both numbers."""
    monkeypatch.delattr("PIL.ImageFile.ImageFile.load")
    with pytest.raises(PhotoTooLarge, match=r"50x50 = 2500 pixels; at most 2000"):
        preprocess(encode("red", (50, 50), "PNG"), 32, max_pixels=2000)


@pytest.mark.parametrize("size", [(1, 32_768), (32_768, 1)])
def test_preprocess_limits_each_side(size):
    """A side over 32,767 pixels raises `PhotoTooLarge`."""
    with pytest.raises(PhotoTooLarge, match="at most 32767 per side are accepted"):
        preprocess(encode_image(Image.new("L", size), "PNG"), 32)


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_preprocess_refuses_a_truncated_photo(image_format):
    """Half a file causes an error instead of a half-gray picture."""
    noise = np.random.default_rng(0).integers(0, 255, (100, 100, 3), np.uint8)
    data = encode_image(Image.fromarray(noise), image_format)
    with pytest.raises((DamagedPhoto, UnsupportedPhoto)):
        preprocess(data[: len(data) // 2], 32)


def test_preprocess_refuses_a_photo_of_size_zero():
    """A GIF of 0 x 0 pixels is refused."""
    data = b"GIF89a" + bytes(7) + b"," + bytes(9) + b";"
    with pytest.raises(DamagedPhoto, match="0x0 = 0 pixels"):
        preprocess(data, 32)


def test_preprocess_names_an_error_without_a_message(encode, monkeypatch):
    """An error of a decoder that has no message, such as `MemoryError`, is named by its type."""

    def fail(*_):
        raise MemoryError

    monkeypatch.setattr("lambda_app.decoding.jpeg._load", fail)
    with pytest.raises(DamagedPhoto, match=r"^the image is damaged: MemoryError$"):
        preprocess(encode("red"), 32)


@pytest.mark.parametrize("size", [40, 56, 108, 124])
def test_decoding_refuses_bitmaps_that_pillow_does_not_support(size):
    """The error names the variant."""
    with pytest.raises(UnsupportedPhoto, match=rf"the BMP has a header of {size} bytes, 32 bits"):
        preprocess(bmp(32, (0xFF, 0xFF00, 0xFF0000, 0), size), 32)
