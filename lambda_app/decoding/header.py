"""Define what each reader returns, and read the EXIF orientation and the ICC profile."""

import struct
from collections.abc import Callable
from dataclasses import dataclass

from PIL import Image

from lambda_app.errors import DamagedPhoto

ORIENTATION = 0x0112  # EXIF 2.32
MAX_ENTRIES = 1000  # in an EXIF directory; a camera writes about 60
MAX_PROFILE = 4_000_000  # bytes of a color profile; profiles of printing presses have about 2 MB


@dataclass(frozen=True)
class Header:
    """The picture's size and what decoding it costs, known from a few hundred bytes of the file.

    `memory` and `seconds` are upper bounds; `python -m infra.bench.decoding` checks them against measurements.
    """

    format: str
    width: int  # of the stored pixels, before orientation
    height: int
    memory: int  # bytes that decoding holds at its peak, beside the file
    seconds: float  # CPU time of decoding
    load: Callable[[int | None], "Picture"]  # decodes; takes the short side that is needed, or None for full size


@dataclass(frozen=True)
class Picture:
    """Decoded pixels in any of Pillow's modes, with their orientation and color profile."""

    image: Image.Image
    orientation: int = 1  # 1..8, by EXIF
    profile: bytes | None = None  # ICC profile of the pixels; None is sRGB


def read_orientation(exif: bytes) -> int:
    """Return the orientation 1..8 of an EXIF block, or 1 if it has none or is damaged.

    Pillow would read the whole block, emit a warning for each broken entry, and take time quadratic in their number.
    """
    exif = exif.removeprefix(b"Exif\0\0")
    order = {b"II": "<", b"MM": ">"}.get(exif[:2])
    if order is None or len(exif) < 10:
        return 1
    (offset,) = struct.unpack_from(order + "I", exif, 4)
    if offset + 2 > len(exif):
        return 1
    (count,) = struct.unpack_from(order + "H", exif, offset)
    entries = exif[offset + 2 : offset + 2 + 12 * min(count, MAX_ENTRIES)]
    for tag, kind, _, value in struct.iter_unpack(order + "HHI4s", entries[: len(entries) // 12 * 12]):
        if tag == ORIENTATION:
            number: int = struct.unpack(order + ("I" if kind == 4 else "H2x"), value)[0]  # LONG or SHORT
            return number if number in range(1, 9) else 1
    return 1


def damaged(reason: str) -> DamagedPhoto:
    return DamagedPhoto(f"the image is damaged: {reason}")


def usable_profile(profile: bytes) -> bytes | None:
    """Return the ICC profile, or None if it is empty or too large."""
    return profile if 0 < len(profile) <= MAX_PROFILE else None
