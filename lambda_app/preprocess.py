"""Turn photo bytes into network input. Serving, validation, calibration and parity checks all use this module."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType

import numpy as np
from numpy.typing import NDArray
from PIL import Image

import lambda_app.decoding.jpeg  # noqa: F401  # nearly every photo is a JPEG: import its reader at start
from lambda_app.decoding.header import Header, Picture, damaged
from lambda_app.errors import DamagedPhoto, NoPhoto, PhotoTooLarge, RequestError, UnsupportedPhoto

# The offset, signature and reader module of each format.
SIGNATURES = (
    (0, b"\xff\xd8\xff", "jpeg"),
    (0, b"\x89PNG\r\n\x1a\n", "png"),
    (8, b"WEBP", "webp"),
    (4, b"ftyp", "heif"),
    (0, b"GIF8", "gif"),
    (0, b"II*\0", "tiff"),
    (0, b"MM\0*", "tiff"),
    (0, b"II+\0", "tiff"),  # BigTIFF
    (0, b"MM\0+", "tiff"),
    (0, b"BM", "bmp"),
)
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "HEIC", "AVIF")
MAX_PIXELS = 25_000_000  # a phone's 24 MP
MAX_SIDE = 32_767  # pixels; a panorama of a phone has 16,384
MAX_MEMORY = 500_000_000  # bytes held while decoding one photo
MAX_SECONDS = 2.0  # CPU time of decoding one photo, estimated from its header on the machine of infra/bench/RESULTS.md

# The operation that turns the stored pixels upright, by EXIF orientation (EXIF 2.32, tag 0x0112).
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
    """The network input of a photo, and properties of its file."""

    pixels: NDArray[np.uint8]  # (3, S, S) RGB, 0..255
    width: int  # in pixels, as stored, before orientation
    height: int
    format: str
    upright_size: tuple[int, int]  # width and height of the decoded, upright picture, which may be smaller


def read_header(data: bytes, max_pixels: int = MAX_PIXELS) -> Header:
    """Return the size of the picture and the cost of decoding it, without decoding a pixel.

    Raise `NoPhoto`, `UnsupportedPhoto`, `PhotoTooLarge` or `DamagedPhoto`.
    """
    if not data:
        raise NoPhoto("the photo is empty (0 bytes); expected an image file")
    reader = _find_reader(data)
    with _raise_damaged_photo():
        header: Header = reader.read_header(data)
    _check_limits(header, max_pixels)
    return header


def preprocess(data: bytes, image_size: int, max_pixels: int = MAX_PIXELS) -> Photo:
    """Decode, resize the short side to `image_size` pixels and crop the center.

    Raise the errors of `read_header` and `preprocess_from_header`.
    """
    return preprocess_from_header(read_header(data, max_pixels), image_size)


def preprocess_from_header(header: Header, image_size: int) -> Photo:
    """Decode the photo of a header, resize and crop it.

    Raise `DamagedPhoto`, `UnsupportedPhoto`, or `Overloaded` if the child process for HEIC or AVIF does not finish.
    """
    with _raise_damaged_photo():
        picture = header.load(image_size)
        image = _to_working_mode(picture)
        side = min(image.size)
        left, top = (image.width - side) // 2, (image.height - side) // 2
        center = (left, top, left + side, top + side)
        square = image.resize((image_size, image_size), Image.Resampling.BICUBIC, center, reducing_gap=2.0)
        pixels = np.asarray(_finish(square, picture))  # (S, S, 3)
        upright_size = image.size[::-1] if picture.orientation >= 5 else image.size
        channels_first = np.ascontiguousarray(pixels.transpose(2, 0, 1))
        return Photo(channels_first, header.width, header.height, header.format, upright_size)


def shrink_from_header(header: Header, short_side: int) -> Image.Image:
    """Return the whole photo of a header: upright, RGB, with at most `short_side` pixels on its short side.

    Raise the errors of `preprocess_from_header`.
    """
    with _raise_damaged_photo():
        picture = header.load(short_side)
        image = _to_working_mode(picture)
        scale = short_side / min(image.size)
        if scale < 1:
            size = (max(short_side, round(image.width * scale)), max(short_side, round(image.height * scale)))
            image = image.resize(size, Image.Resampling.BICUBIC, reducing_gap=2.0)
        return _finish(image, picture)


def decode(data: bytes, max_pixels: int = MAX_PIXELS, min_side: int | None = None) -> Image.Image:
    """Return the whole photo, upright and RGB.

    JPEG, HEIC and AVIF are decoded at a smaller scale if their short side then still has `min_side` pixels. Raise the
    errors of `read_header` and `preprocess_from_header`. Serving calls `preprocess_from_header` instead.
    """
    header = read_header(data, max_pixels)
    with _raise_damaged_photo():
        picture = header.load(min_side)
        return _finish(_to_working_mode(picture), picture)


def _find_reader(data: bytes) -> ModuleType:
    """Return the module of `lambda_app.decoding` for the file. All modules but JPEG's are imported on first use."""
    for offset, signature, module in SIGNATURES:
        if data.startswith(signature, offset):
            return import_module(f"lambda_app.decoding.{module}")
    raise UnsupportedPhoto(f"the file is not a supported image; expected one of {', '.join(FORMATS)}")


def _check_limits(header: Header, max_pixels: int) -> None:
    pixels = header.width * header.height
    size = f"the photo has {header.width}x{header.height} = {pixels} pixels"
    if not pixels:
        raise DamagedPhoto(f"{size}; expected at least 1x1")
    if pixels > max_pixels:
        raise PhotoTooLarge(f"{size}; at most {max_pixels} are accepted")
    if max(header.width, header.height) > MAX_SIDE:
        raise PhotoTooLarge(f"{size}; at most {MAX_SIDE} per side are accepted")
    if header.memory > MAX_MEMORY or header.seconds > MAX_SECONDS:
        raise PhotoTooLarge(
            f"{size}, and decoding this {header.format} takes up to {header.memory / 1e6:.0f} MB and "
            f"{header.seconds:.1f} s; at most {MAX_MEMORY / 1e6:.0f} MB and {MAX_SECONDS:.0f} s are accepted"
        )


def _to_working_mode(picture: Picture) -> Image.Image:
    """Return L, RGB, RGBA, or CMYK with a profile: modes that can be resized. 16-bit gray is scaled to 8 bits."""
    image = picture.image
    if image.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.mode == "RGBA" or (image.mode == "CMYK" and picture.profile):
        return image
    if image.has_transparency_data:
        return image.convert("RGBA")
    # convert() copies even if nothing changes: 15 ms and 46 MB for a PNG of 12 MP. Gray is converted after the resize.
    return image if image.mode in {"RGB", "L"} else image.convert("RGB")


def _finish(image: Image.Image, picture: Picture) -> Image.Image:
    """Return an upright RGB image in sRGB, composited over white."""
    if picture.profile:  # so also for CMYK, see `_to_working_mode`
        from lambda_app.decoding.color import to_srgb  # noqa: PLC0415  # imports LittleCMS, for photos with a profile

        image = to_srgb(image, picture.profile)
    if image.mode == "RGBA":
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    upright = UPRIGHT.get(picture.orientation)
    image = image.convert("RGB")
    return image if upright is None else image.transpose(upright)


@contextmanager
def _raise_damaged_photo() -> Iterator[None]:
    """Convert the errors of decoders into `DamagedPhoto`.

    Depending on format and damage, decoders raise OSError, SyntaxError, ValueError, struct.error, IndexError,
    MemoryError and more, none of it documented. So this function catches every exception.
    """
    try:
        yield
    except RequestError:
        raise
    except Exception as error:
        raise damaged(str(error) or type(error).__name__) from error
