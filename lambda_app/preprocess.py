"""Photo bytes to network input: the only copy, called by validation, calibration, parity checks and serving alike."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO

import numpy as np
from numpy.typing import NDArray

# Importing the plugins registers them. Image.init() would import all forty.
from PIL import (
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    UnidentifiedImageError,
    WebPImagePlugin,
)
from PIL.ExifTags import Base as ExifTag

from lambda_app.errors import DamagedPhoto, NoPhoto, PhotoTooLarge, RequestError, UnsupportedPhoto

FORMATS = tuple(
    plugin.format
    for plugin in (
        JpegImagePlugin.JpegImageFile,
        PngImagePlugin.PngImageFile,
        WebPImagePlugin.WebPImageFile,
        GifImagePlugin.GifImageFile,
        BmpImagePlugin.BmpImageFile,
        TiffImagePlugin.TiffImageFile,
    )
)
MAX_PIXELS = 25_000_000  # a phone's 24 MP; decoding takes up to 24 bytes a pixel (an animated WebP), 600 MB
MAX_SCANS = 64  # a progressive JPEG has about ten; thousands of empty ones would take minutes

# EXIF 2.32, tag 0x0112: how to turn the stored pixels upright.
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@dataclass(frozen=True)
class Photo:
    """A photo as the network wants it, and what it was before."""

    pixels: NDArray[np.uint8]  # (3, S, S) RGB, 0..255
    width: int  # of the file, before orientation, in pixels
    height: int
    format: str


def preprocess(data: bytes, image_size: int, max_pixels: int = MAX_PIXELS) -> Photo:
    """Decode, resize the short side to `image_size` pixels and crop the centre.

    Raises NoPhoto, UnsupportedPhoto, PhotoTooLarge (before any pixel is decoded) or DamagedPhoto.
    """
    with _errors_of_hostile_bytes():
        image = _open(data, max_pixels)
        width, height = image.size
        image.draft(
            None, (image_size, image_size)
        )  # JPEG only: decodes at 1/2, 1/4 or 1/8, 3.5 times as fast at 1.6 MP
        image.load()  # TIFF turns itself upright here
        side = min(image.size)
        left, top = (image.width - side) // 2, (image.height - side) // 2
        centre = (left, top, left + side, top + side)
        orientation = _orientation(image)
        square = _eight_bit(image).resize((image_size, image_size), Image.Resampling.BICUBIC, centre, reducing_gap=2.0)
        pixels = np.asarray(_upright(_over_white(square), orientation))  # (S, S, 3)
        return Photo(np.ascontiguousarray(pixels.transpose(2, 0, 1)), width, height, str(image.format))


def decode(data: bytes, max_pixels: int = MAX_PIXELS, min_side: int | None = None) -> Image.Image:
    """The whole photo, upright and RGB; of a big JPEG no more than `min_side` needs. Errors as `preprocess`."""
    with _errors_of_hostile_bytes():
        image = _open(data, max_pixels)
        if min_side:
            image.draft(None, (min_side, min_side))
        image.load()
        return _upright(_over_white(_eight_bit(image)), _orientation(image))


def _eight_bit(image: Image.Image) -> Image.Image:
    """Any mode to RGB, RGBA where it has transparency, or L; deep grey scaled to 8 bits."""
    if image.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8)).convert("RGB")
    if image.mode in {"I", "F"}:  # no agreed white point: stretch what is there
        values = np.nan_to_num(np.asarray(image, dtype=np.float32), posinf=0, neginf=0)
        values -= values.min()
        return Image.fromarray((values * (255 / max(float(values.max()), 1e-12))).astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        return image.convert("RGBA")
    # convert() copies even what it need not change: 15 ms and 46 MB of a PNG of 12 MP. Grey can wait until it is small.
    return image if image.mode in {"RGB", "L"} else image.convert("RGB")


def _over_white(image: Image.Image) -> Image.Image:
    if image.mode != "RGBA":
        return image.convert("RGB")
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")


def _open(data: bytes, max_pixels: int) -> Image.Image:
    if not data:
        raise NoPhoto("the photo is empty (0 bytes); expected an image file")
    try:
        image = Image.open(BytesIO(data), formats=FORMATS)
    except UnidentifiedImageError:
        raise UnsupportedPhoto(f"not an image that can be read; expected one of {', '.join(FORMATS)}") from None
    _check_pixels(image.width, image.height, max_pixels)
    if isinstance(image, TiffImagePlugin.TiffImageFile):  # a tile is decoded whole, however little of it is the photo
        width, height = (int(image.tag_v2.get(tag, 0)) for tag in (ExifTag.TileWidth, ExifTag.TileLength))
        _check_pixels(width, height, max_pixels)
    if isinstance(image, JpegImagePlugin.JpegImageFile) and (scans := data.count(b"\xff\xda")) > MAX_SCANS:
        raise DamagedPhoto(f"the JPEG has {scans} scans; at most {MAX_SCANS} are decoded")
    return image


def _check_pixels(width: int, height: int, max_pixels: int) -> None:
    if width * height > max_pixels:
        raise PhotoTooLarge(
            f"the photo has {width}x{height} = {width * height} pixels; at most {max_pixels} are accepted"
        )


def _orientation(image: Image.Image) -> int:
    """1..8, or 1 where the EXIF block is absent or damaged: a photo is worth more than its metadata."""
    try:
        return int(image.getexif().get(ExifTag.Orientation, 1))
    except Exception:  # Pillow's EXIF parser raises whatever struct, int and its own tables raise
        return 1


def _upright(image: Image.Image, orientation: int) -> Image.Image:
    return image.transpose(UPRIGHT[orientation]) if orientation in UPRIGHT else image


@contextmanager
def _errors_of_hostile_bytes() -> Iterator[None]:
    """Turn what Pillow raises on damaged files into DamagedPhoto.

    Its decoders raise OSError, SyntaxError, ValueError, struct.error, IndexError, MemoryError and more, by format and
    by damage, and document none of it: the one place where catching everything is the narrow choice.
    """
    try:
        yield
    except RequestError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise PhotoTooLarge(str(error)) from error
    except Exception as error:
        raise DamagedPhoto(f"the image is damaged: {error or type(error).__name__}") from error
