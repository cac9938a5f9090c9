"""Describe a picture by what its file states, before any decoder runs."""

import struct
from collections.abc import Callable
from dataclasses import dataclass

from PIL import Image

from lambda_app.errors import DamagedPhoto

ORIENTATION = 0x0112  # EXIF 2.32
MAX_ENTRIES = 1000  # of one EXIF directory; a camera writes about 60
MAX_PROFILE = 4_000_000  # bytes of a color profile; a profile of a printing press has about 2 MB


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
    load: Callable[[int | None], "Picture"]  # decodes; for a short side of so many pixels, at a smaller scale if it can


@dataclass(frozen=True)
class Picture:
    """Decoded pixels of any of Pillow's modes, and how to show them."""

    image: Image.Image
    orientation: int = 1  # 1..8, by EXIF
    profile: bytes | None = None  # the ICC profile that the pixels are in; None is sRGB


def exif_orientation(exif: bytes) -> int:
    """Return the orientation 1..8 of an EXIF block, or 1 if it has none or is damaged.

    Pillow reads the whole block, writes a warning for each broken entry, and takes time quadratic in their number.
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


def joined_profile(parts: dict[int, bytes]) -> bytes | None:
    """Return the ICC profile whose numbered parts a file has in any order, or None if it is too large to be one."""
    profile = b"".join(parts[number] for number in sorted(parts))
    return profile if 0 < len(profile) <= MAX_PROFILE else None
