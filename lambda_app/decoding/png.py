"""Read PNG (W3C, third edition). Pillow gets only the critical chunks and transparency."""

import struct
import zlib
from dataclasses import dataclass, field
from io import BytesIO

import numpy as np
from PIL import Image, PngImagePlugin

from lambda_app.decoding.color import Colorimetry, build_profile
from lambda_app.decoding.header import MAX_PROFILE, Header, Picture, damaged, read_orientation, usable_profile
from lambda_app.errors import UnsupportedPhoto

SIGNATURE = b"\x89PNG\r\n\x1a\n"
GRAY, RGB, PALETTE, GRAY_ALPHA, RGB_ALPHA = 0, 2, 3, 4, 6
DEPTHS = {GRAY: {1, 2, 4, 8, 16}, RGB: {8, 16}, PALETTE: {1, 2, 4, 8}, GRAY_ALPHA: {8, 16}, RGB_ALPHA: {8, 16}}
COLOR_CHUNKS = {b"iCCP", b"cICP", b"sRGB", b"gAMA", b"cHRM"}
KEPT = COLOR_CHUNKS | {b"tRNS", b"eXIf"}


@dataclass
class _Contents:
    header: bytes = b""
    palette: bytes = b""
    pixels: list[bytes] = field(default_factory=list)
    metadata: dict[bytes, bytes] = field(default_factory=dict)  # the first chunk of each kind in `KEPT`


def read_header(data: bytes) -> Header:
    """Read the header of a PNG file. Raise `DamagedPhoto`, or `UnsupportedPhoto` naming the variant."""
    contents = _read(data)
    width, height, depth, color_type, compression, filtering, interlace = struct.unpack(">IIBBBBB", contents.header)
    if depth not in DEPTHS.get(color_type, ()) or compression or filtering or interlace > 1:
        raise UnsupportedPhoto(f"the PNG has color type {color_type} with {depth} bits, which PNG does not define")

    def load(_: int | None) -> Picture:
        image = _load(contents, depth, color_type, contents.metadata.get(b"tRNS", b""))
        return Picture(image, read_orientation(contents.metadata.get(b"eXIf", b"")), _choose_profile(contents.metadata))

    return Header(
        format="PNG",
        width=width,
        height=height,
        memory=width * height * 15 + 2 * len(data) + len(contents.pixels) * 100,
        seconds=width * height * 75e-9 + len(contents.pixels) * 2e-6,
        load=load,
    )


def _read(data: bytes) -> _Contents:
    contents, position = _Contents(), len(SIGNATURE)
    view = memoryview(data)
    while position + 12 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, position)
        end = position + 8 + length
        is_critical = not kind[0] & 0x20
        if end + 4 > len(data):
            raise damaged(f"the PNG ends in chunk {kind!r}")
        if is_critical and zlib.crc32(view[position + 4 : end]) != int.from_bytes(view[end : end + 4], "big"):
            raise damaged(f"the PNG's chunk {kind!r} has a wrong checksum")
        if kind == b"IEND":
            break
        if is_critical or kind in KEPT:
            _read_chunk(contents, kind, data[position + 8 : end])
        position = end + 4
    if not contents.pixels:
        raise damaged("the PNG has no pixels")
    return contents


def _read_chunk(contents: _Contents, kind: bytes, content: bytes) -> None:
    if not contents.header and (kind != b"IHDR" or len(content) != 13):
        raise damaged("the PNG does not begin with its header")
    if kind == b"IHDR":
        contents.header = contents.header or content
    elif kind == b"PLTE":
        contents.palette = contents.palette or content
    elif kind == b"IDAT":
        contents.pixels.append(content)
    elif kind in KEPT:
        contents.metadata.setdefault(kind, content)
    else:
        raise UnsupportedPhoto(f"the PNG has the critical chunk {kind!r}; expected IHDR, PLTE, IDAT and IEND")


def _load(contents: _Contents, depth: int, color_type: int, transparency: bytes) -> Image.Image:
    if color_type != PALETTE:
        transparency = _scale_transparency(transparency, depth)
    is_deep_gray = color_type == GRAY and depth == 16
    chunks = [(b"IHDR", contents.header), (b"PLTE", contents.palette), (b"tRNS", b"" if is_deep_gray else transparency)]
    chunks += [(b"IDAT", b"".join(contents.pixels))]
    file = SIGNATURE + b"".join(_chunk(kind, content) for kind, content in chunks if content) + _chunk(b"IEND", b"")
    image = PngImagePlugin.PngImageFile(BytesIO(file))
    image.load()
    if is_deep_gray and transparency:
        return _deep_gray_alpha(image, int.from_bytes(transparency, "big"))
    return image.convert("L") if image.mode == "1" else image


def _scale_transparency(transparency: bytes, depth: int) -> bytes:
    """Return the transparent gray or color scaled to 8 bits, because Pillow compares it with decoded samples.

    Of 16-bit RGB, Pillow keeps only the high bytes, so colors that differ only in the low bytes are transparent, too.
    """
    samples = struct.unpack(f">{len(transparency) // 2}H", transparency[: len(transparency) // 2 * 2])
    if not samples or len(samples) not in {1, 3} or max(samples) >= 1 << depth:
        return b""  # out of range: no pixel has this value
    if depth == 16 and len(samples) == 3:
        samples = tuple(sample >> 8 for sample in samples)
    elif depth < 8:
        samples = tuple(sample * 255 // ((1 << depth) - 1) for sample in samples)
    return struct.pack(f">{len(samples)}H", *samples)


def _deep_gray_alpha(image: Image.Image, transparent: int) -> Image.Image:
    samples = np.asarray(image)
    gray, alpha = (samples >> 8).astype(np.uint8), np.where(samples == transparent, 0, 255).astype(np.uint8)
    return Image.fromarray(np.stack([gray, alpha], axis=-1), "LA")


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I4s", len(content), kind) + content + struct.pack(">I", zlib.crc32(content, zlib.crc32(kind)))


def _choose_profile(chunks: dict[bytes, bytes]) -> bytes | None:
    """Return the color profile in the order of precedence: cICP, iCCP, sRGB, gAMA with cHRM (PNG, section 4.3)."""
    if len(code_points := chunks.get(b"cICP", b"")) == 4:
        return build_profile(Colorimetry.from_code_points(code_points[0], code_points[1]))
    if b"iCCP" in chunks:
        return _unpack_profile(chunks[b"iCCP"].partition(b"\0")[2][1:])
    gamma, primaries = chunks.get(b"gAMA", b""), chunks.get(b"cHRM", b"")
    if b"sRGB" in chunks or len(gamma) != 4 or not any(gamma):
        return None
    numbers = struct.unpack(">8I", primaries) if len(primaries) == 32 else ()
    return build_profile(Colorimetry.from_png(int.from_bytes(gamma, "big"), numbers))


def _unpack_profile(profile: bytes) -> bytes | None:
    try:
        unpacked = zlib.decompressobj().decompress(profile, MAX_PROFILE + 1)
    except zlib.error:
        return None  # broken metadata never causes an error
    return usable_profile(unpacked)
