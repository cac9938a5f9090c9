"""Convert colors to sRGB, the color space of the training photos, as viewers do."""

import struct
from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO
from itertools import product
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lambda_app.errors import UnsupportedPhoto

if TYPE_CHECKING:
    from PIL.ImageCms import ImageCmsTransform

# Mean difference over the color cube, of 255. A smaller one is invisible, and converting it would take 1 ms.
NEGLIGIBLE = 1.0
D65, D50 = (0.3127, 0.3290), np.array([0.9642, 1.0, 0.8249])
BT709 = (0.64, 0.33, 0.30, 0.60, 0.15, 0.06)
BT2020 = (0.708, 0.292, 0.170, 0.797, 0.131, 0.046)
P3 = (0.680, 0.320, 0.265, 0.690, 0.150, 0.060)
# Parametric curves of ICC.1:2022, section 10.18: the exponent alone, or with a, b, c and d.
SRGB_CURVE = (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
BT1886_CURVE = (2.4,)  # how screens display BT.709 and its relatives
# Code points of ITU-T H.273. Other primaries are rare and close to BT.709; other curves are treated as sRGB.
PRIMARIES = {9: BT2020, 12: P3}
CURVES = {1: BT1886_CURVE, 4: (2.2,), 5: (2.8,), 6: BT1886_CURVE, 8: (1.0,), 14: BT1886_CURVE, 15: BT1886_CURVE}
HDR = {16: "PQ", 18: "HLG"}
BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])


@dataclass(frozen=True)
class Colorimetry:
    """A color space that a file states by numbers instead of a profile."""

    curve: tuple[float, ...] = SRGB_CURVE
    primaries: tuple[float, ...] = BT709  # x and y of red, green and blue
    white: tuple[float, float] = D65

    @classmethod
    def from_code_points(cls, primaries: int, transfer: int) -> Self:
        """Read code points of ITU-T H.273. Raise `UnsupportedPhoto` for HDR, which viewers tone-map differently."""
        if transfer in HDR:
            raise UnsupportedPhoto(f"the photo is HDR ({HDR[transfer]}); expected standard dynamic range")
        return cls(CURVES.get(transfer, SRGB_CURVE), PRIMARIES.get(primaries, BT709))

    @classmethod
    def from_png(cls, gamma: int, chromaticities: tuple[int, ...]) -> Self:
        """Read the chunks gAMA and cHRM, whose numbers are multiplied by 100,000; cHRM begins with the white point."""
        x, y, *primaries = (number / 100_000 for number in chromaticities or (0, 0))
        white, colors = ((x, y), tuple(primaries)) if primaries else (D65, BT709)
        return cls((100_000 / gamma,), colors, white)


SRGB = Colorimetry()


def to_srgb(image: Image.Image, profile: bytes) -> Image.Image:
    """Convert L, RGB, RGBA or CMYK to L, RGB or RGBA in sRGB. Ignore a broken profile, or one for other colors."""
    if image.mode == "RGBA" and profile[16:20] == b"GRAY":
        gray = to_srgb(image.getchannel("R"), profile).convert("RGBA")
        gray.putalpha(image.getchannel("A"))
        return gray
    if image.mode == "L" and profile[16:20] == b"RGB ":
        image = image.convert("RGB")
    transform = _build_transform(profile, image.mode)
    if transform:
        converted: Image.Image = transform.apply(image)
        return converted
    return image.convert("RGB") if image.mode == "CMYK" else image


@lru_cache(maxsize=8)  # photos from one camera share a profile
def _build_transform(profile: bytes, mode: str) -> "ImageCmsTransform | None":
    """Return None if the profile is broken, is for other colors, or makes no visible difference."""
    from PIL import ImageCms  # noqa: PLC0415  # imports LittleCMS: 8 ms, only for photos with a profile

    if profile[16:20] != {"L": b"GRAY", "CMYK": b"CMYK"}.get(mode, b"RGB "):
        return None
    try:
        source = ImageCms.ImageCmsProfile(BytesIO(profile))
        target = "RGB" if mode in {"L", "CMYK"} else mode
        transform = ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), mode, target)
        return transform if mode == "CMYK" or _is_visible(transform, mode) else None
    except (ImageCms.PyCMSError, OSError, TypeError, ValueError):
        return None


def _is_visible(transform: "ImageCmsTransform", mode: str) -> bool:
    levels = range(0, 256, 51)
    colors = np.array([(level,) * 3 for level in levels] if mode == "L" else [*product(levels, repeat=3)], np.uint8)
    probe = Image.fromarray(colors[None]).convert(mode)
    converted = np.asarray(transform.apply(probe).convert("RGB"), np.int16)
    return bool(np.abs(converted - colors[None]).mean() > NEGLIGIBLE)


@lru_cache(maxsize=8)
def build_profile(colorimetry: Colorimetry) -> bytes | None:
    """Build an ICC profile (ICC.1:2022, three-component matrix-based) of a color space, or return None for sRGB.

    Return None also for numbers that no color space has.
    """
    if colorimetry == SRGB or not 0.1 <= colorimetry.curve[0] <= 10:
        return None
    try:
        matrix = _to_xyz_d50(colorimetry)
    except (np.linalg.LinAlgError, ZeroDivisionError):  # primaries on a line, or a white point without light
        return None
    if not np.isfinite(matrix).all() or np.abs(matrix).max() > 4:
        return None
    tags = {b"wtpt": _encode_xyz(D50)}
    for color, column in zip("rgb", matrix.T, strict=True):
        tags[f"{color}XYZ".encode()] = _encode_xyz(column)
        tags[f"{color}TRC".encode()] = _encode_curve(colorimetry.curve)
    table, content = struct.pack(">I", len(tags)), b""
    for tag, value in tags.items():
        table += struct.pack(">4sII", tag, 132 + 12 * len(tags) + len(content), len(value))
        content += value
    body = table + content
    head = struct.pack(">I4sI4s4s4s12x4s28x3i", 128 + len(body), b"", 0x04000000, b"mntr", b"RGB ", b"XYZ ", b"acsp",
                       *_to_fixed_point(D50))  # fmt: skip
    return head.ljust(128, b"\0") + body


def _to_xyz_d50(colorimetry: Colorimetry) -> NDArray[np.float64]:
    """Return the matrix from linear RGB to XYZ (SMPTE RP 177), adapted to D50, the white of ICC profiles (Bradford)."""
    white = _xy_to_xyz(*colorimetry.white)
    numbers = colorimetry.primaries
    columns = np.stack([_xy_to_xyz(*xy) for xy in zip(numbers[::2], numbers[1::2], strict=True)], axis=1)
    matrix = columns * np.linalg.solve(columns, white)
    adaptation = np.linalg.inv(BRADFORD) @ np.diag(BRADFORD @ D50 / (BRADFORD @ white)) @ BRADFORD
    adapted: NDArray[np.float64] = adaptation @ matrix
    return adapted


def _xy_to_xyz(x: float, y: float) -> NDArray[np.float64]:
    return np.array([x / y, 1.0, (1 - x - y) / y])


def _to_fixed_point(values: NDArray[np.float64]) -> list[int]:
    return [round(float(value) * 65536) for value in values]


def _encode_xyz(values: NDArray[np.float64]) -> bytes:
    return struct.pack(">4s4x3i", b"XYZ ", *_to_fixed_point(values))


def _encode_curve(numbers: tuple[float, ...]) -> bytes:
    kind = 0 if len(numbers) == 1 else 3
    return struct.pack(f">4s4xH2x{len(numbers)}i", b"para", kind, *_to_fixed_point(np.array(numbers)))
