"""Read TIFF 6.0. Pillow gets only the tags that affect pixels.

Pillow decodes some variants wrongly without an error. test_tiff.py compares every combination with libtiff's own
conversion, and this module refuses the variants that differ.
"""

import ctypes
import struct
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
import PIL
from PIL import Image, TiffImagePlugin

from lambda_app.decoding.header import MAX_ENTRIES, MAX_PROFILE, Header, Picture, damaged, usable_profile
from lambda_app.errors import PhotoTooLarge, UnsupportedPhoto

(WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, FILL_ORDER, STRIP_OFFSETS, ORIENTATION, SAMPLES, ROWS_PER_STRIP,
 STRIP_SIZES, PLANAR, PREDICTOR, COLOR_MAP, TILE_WIDTH, TILE_HEIGHT, TILE_OFFSETS, TILE_SIZES, EXTRA, SAMPLE_FORMAT,
 JPEG_TABLES, YCBCR_COEFFICIENTS, YCBCR_SUBSAMPLING, YCBCR_POSITION, BLACK_WHITE, PROFILE) = TAGS = (
    256, 257, 258, 259, 262, 266, 273, 274, 277, 278,
    279, 284, 317, 320, 322, 323, 324, 325, 338, 339,
    347, 529, 530, 531, 532, 34675,
)  # fmt: skip
METADATA = {ORIENTATION, PROFILE}
KEPT = {*TAGS} - METADATA  # the tags that affect pixels
SINGLE = {WIDTH, HEIGHT, COMPRESSION, PHOTOMETRIC, FILL_ORDER, SAMPLES, ROWS_PER_STRIP, PLANAR, PREDICTOR, TILE_WIDTH,
          TILE_HEIGHT, YCBCR_POSITION}  # fmt: skip
TYPES = {1: "B", 2: "B", 3: "H", 4: "I", 5: "II", 6: "b", 7: "B", 8: "h", 9: "i", 13: "I", 16: "Q", 17: "q", 18: "Q"}
MAX_VALUES = 1000  # per tag; a color map of 8 bits has 768
MAX_TILE = 1024 * 1024  # pixels; a small picture may have a single tile of a common size
MAX_PIECES = 70_000  # strips or tiles, e.g. one strip per row of 23,333 rows in three planes

LIMITS = {STRIP_OFFSETS: MAX_PIECES, STRIP_SIZES: MAX_PIECES, TILE_OFFSETS: MAX_PIECES, TILE_SIZES: MAX_PIECES,
          JPEG_TABLES: 65_536, PROFILE: MAX_PROFILE}  # fmt: skip

WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, CMYK, YCBCR, LAB = 0, 1, 2, 3, 5, 6, 8
COLORS = {WHITE_IS_ZERO: 1, BLACK_IS_ZERO: 1, RGB: 3, PALETTE: 1, CMYK: 4, YCBCR: 3, LAB: 3}
NAMES = {0: "white-is-zero", 1: "black-is-zero", 2: "RGB", 3: "palette", 5: "CMYK", 6: "YCbCr", 8: "CIELAB"}
UNCOMPRESSED, JPEG = 1, 7
COMPRESSIONS = {UNCOMPRESSED: "none", 5: "LZW", JPEG: "JPEG", 8: "deflate", 32773: "PackBits", 32946: "deflate",
                34925: "LZMA", 50000: "Zstandard"}  # fmt: skip
SAMPLE_FORMATS = {1: "unsigned", 2: "signed", 3: "floating point"}
# Bits per sample. Viewers do not agree on white for floating-point, signed and 32-bit samples, nor on CIELAB.
DEPTHS = {WHITE_IS_ZERO: {1, 2, 4, 8, 16}, BLACK_IS_ZERO: {1, 2, 4, 8, 12, 16}, RGB: {8, 16}, PALETTE: {1, 2, 4, 8},
          CMYK: {8}, YCBCR: {8}}  # fmt: skip
ALPHA_DEPTHS = {BLACK_IS_ZERO: {8}, RGB: {8, 16}}
ALPHAS = {(1,), (2,)}  # premultiplied and plain alpha; only some viewers show 0, unspecified data


@dataclass(frozen=True)
class _Directory:
    """The first image file directory, with the raw value of each tag."""

    order: str  # byte order in the notation of `struct`
    entries: dict[int, tuple[int, int, bytes]]  # tag: type, count, value

    def numbers(self, tag: int, default: tuple[int, ...] = ()) -> tuple[int, ...]:
        if tag not in self.entries:
            return default
        kind, count, value = self.entries[tag]
        numbers: tuple[int, ...] = struct.unpack(f"{self.order}{count * len(TYPES[kind])}{TYPES[kind][0]}", value)
        return numbers

    def number(self, tag: int, default: int) -> int:
        numbers = self.numbers(tag)
        return numbers[0] if numbers else default


def _silence_libtiff() -> None:
    """Stop libtiff from writing a line to standard error for each damaged row, which ignores the log level.

    Pillow keeps libtiff's default handlers and has no setting for them.
    """
    for path in (Path(PIL.__file__).parent.parent / "pillow.libs").glob("libtiff-*"):
        library = ctypes.CDLL(str(path))  # the copy that Pillow has loaded
        library.TIFFSetErrorHandler(None)
        library.TIFFSetWarningHandler(None)


_silence_libtiff()


def read_header(data: bytes) -> Header:
    """Read the header of a TIFF file.

    Raise `DamagedPhoto`, `PhotoTooLarge`, or `UnsupportedPhoto` naming the variant.
    """
    directory = _read_directory(data)
    width, height = directory.number(WIDTH, 0), directory.number(HEIGHT, 0)
    pieces, largest = _measure_pieces(directory, width, height)
    _check_variant(directory, data)
    pixels = max(width * height, largest)
    return Header(
        format="TIFF",
        width=width,
        height=height,
        memory=pixels * 16 + len(data),
        # Each piece is decoded whole: at most 60 ns per pixel, plus 12 us per piece.
        seconds=max(pixels, pieces * min(largest, pixels)) * 60e-9 + pieces * 12e-6,
        load=lambda _: _load(directory, data),
    )


def _read_directory(data: bytes) -> _Directory:
    """Read the tags that are used. Raise `DamagedPhoto` if the directory or one of their values is outside the file."""
    order = "<" if data[:2] == b"II" else ">"
    is_big = data[2:4] in {b"+\0", b"\0+"}
    entry, counter, pointer = ("HHQ8s", "Q", 8) if is_big else ("HHI4s", "H", 4)
    try:
        (offset,) = struct.unpack_from(order + counter.replace("H", "I"), data, pointer)
        (count,) = struct.unpack_from(order + counter, data, offset)
        start = offset + struct.calcsize(order + counter)
        if count > MAX_ENTRIES:
            raise damaged(f"the TIFF has a directory of {count} entries; at most {MAX_ENTRIES} are read")
        size = struct.calcsize(order + entry)
        found = [struct.unpack_from(order + entry, data, start + size * number) for number in range(count)]
        entries: dict[int, tuple[int, int, bytes]] = {}
        for tag, kind, number, inline in found:
            if tag in KEPT | METADATA and kind in TYPES and tag not in entries:
                value = _read_value(data, order, tag, kind, number, inline)
                if value is not None:
                    entries[tag] = (kind, number, value)
    except struct.error as error:
        raise damaged("the TIFF ends before its directory does") from error
    return _Directory(order, entries)


def _read_value(data: bytes, order: str, tag: int, kind: int, count: int, inline: bytes) -> bytes | None:
    """Return the raw value of a tag, or None for broken metadata. `inline` is the value or its offset in the file.

    Raise `DamagedPhoto` if there are too many values, or the value lies outside the file.
    """
    limit = LIMITS.get(tag, MAX_VALUES)
    if count > limit:
        if tag in METADATA:
            return None
        raise damaged(f"tag {tag} of the TIFF has {count} values; at most {limit} are read")
    length = count * struct.calcsize(order + TYPES[kind])
    (offset,) = struct.unpack(order + ("Q" if len(inline) == 8 else "I"), inline)
    value = inline[:length] if length <= len(inline) else data[offset : offset + length]
    if len(value) == length:
        return value
    if tag in METADATA:
        return None
    raise damaged(f"the value of tag {tag} lies outside the TIFF")


def _measure_pieces(directory: _Directory, width: int, height: int) -> tuple[int, int]:
    """Return the number of strips or tiles, and the pixels of each. Raise `DamagedPhoto` or `PhotoTooLarge`."""
    offsets = directory.entries.get(TILE_OFFSETS) or directory.entries.get(STRIP_OFFSETS)
    if not offsets or not width or not height:
        raise damaged("the TIFF has no pixels")
    if TILE_OFFSETS not in directory.entries:
        return offsets[1], width * min(height, directory.number(ROWS_PER_STRIP, height))
    tile_width, tile_height = directory.number(TILE_WIDTH, width), directory.number(TILE_HEIGHT, height)
    if tile_width * tile_height > max(width * height, MAX_TILE):  # a tile is decoded as a whole
        raise PhotoTooLarge(f"the TIFF has tiles of {tile_width}x{tile_height} pixels for {width}x{height}")
    return offsets[1], tile_width * tile_height


def _check_variant(directory: _Directory, data: bytes) -> None:
    """Raise `UnsupportedPhoto` for variants that Pillow refuses or decodes differently from libtiff."""
    photometric, compression = directory.number(PHOTOMETRIC, -1), directory.number(COMPRESSION, UNCOMPRESSED)
    bits, samples = directory.numbers(BITS, (1,)), directory.number(SAMPLES, 1)
    extra, sample_format = directory.numbers(EXTRA), directory.numbers(SAMPLE_FORMAT) or (1,)
    planes = directory.number(PLANAR, 1) if samples > 1 else 1
    depth = bits[0] if len(set(bits)) == 1 else 0
    if (
        compression in COMPRESSIONS
        and depth in DEPTHS.get(photometric, ())
        and set(sample_format) == {1}
        and samples == COLORS[photometric] + len(extra)
        and (not extra or (extra in ALPHAS and depth in ALPHA_DEPTHS.get(photometric, ()) and planes == 1))
        and not (depth == 12 and (compression != UNCOMPRESSED or directory.order == ">"))
        and not (depth == 16 and photometric == WHITE_IS_ZERO and directory.order == ">")
        and not (photometric == YCBCR and (planes == 2 or _is_subsampled(directory, compression)))
        and directory.number(FILL_ORDER, 1) == 1
    ):
        _check_jpeg(directory, data)
        return
    raise UnsupportedPhoto(
        f"the TIFF is {NAMES.get(photometric, f'of photometric interpretation {photometric}')} with "
        f"{samples} samples of {'/'.join(map(str, bits[:8]))} bits "
        f"({SAMPLE_FORMATS.get(sample_format[0], 'unknown format')}, {len(extra)} extra), "
        f"{'in separate planes, ' if planes == 2 else ''}compression "
        f"{COMPRESSIONS.get(compression, compression)}, fill order {directory.number(FILL_ORDER, 1)}, "
        f"{'little' if directory.order == '<' else 'big'}-endian, which is not supported; "
        "expected gray, RGB, palette, CMYK or YCbCr with unsigned samples of up to 16 bits"
    )


def _check_jpeg(directory: _Directory, data: bytes) -> None:
    """Raise `UnsupportedPhoto` for progressive JPEG data, which TIFF forbids and which is slow to decode.

    Raise `DamagedPhoto` if the sizes of strips or tiles are missing or exceed the file.
    """
    if directory.number(COMPRESSION, UNCOMPRESSED) != JPEG:
        return
    tiled = TILE_OFFSETS in directory.entries
    offsets = directory.numbers(TILE_OFFSETS if tiled else STRIP_OFFSETS)
    sizes = directory.numbers(TILE_SIZES if tiled else STRIP_SIZES)
    if len(sizes) != len(offsets) or sum(sizes) > len(data):
        raise damaged("the strips or tiles of the TIFF overlap, or their sizes are missing")
    for offset, size in zip(offsets, sizes, strict=True):
        if data.find(b"\xff\xc2", offset, offset + size) >= 0 or data.count(b"\xff\xda", offset, offset + size) > 4:
            raise UnsupportedPhoto("the TIFF has progressive JPEG data; expected baseline")


def _is_subsampled(directory: _Directory, compression: int) -> bool:
    """Return whether pixels share color samples in uncompressed data, which Pillow unpacks as if they did not."""
    return compression == UNCOMPRESSED and directory.numbers(YCBCR_SUBSAMPLING, (2, 2)) != (1, 1)


def _load(directory: _Directory, data: bytes) -> Picture:
    image = TiffImagePlugin.TiffImageFile(BytesIO(_rebuild(directory, data)))
    image.load()
    photometric, bits = directory.number(PHOTOMETRIC, WHITE_IS_ZERO), directory.number(BITS, 1)
    pixels: Image.Image = image.convert("LA") if image.mode == "La" else image
    if image.mode.startswith("I;16"):
        gray = (np.asarray(image) >> (bits - 8)).astype(np.uint8)
        pixels = Image.fromarray(255 - gray if photometric == WHITE_IS_ZERO else gray)
    orientation = directory.number(ORIENTATION, 1)
    profile = usable_profile(directory.entries.get(PROFILE, (0, 0, b""))[2])
    return Picture(pixels, orientation if orientation in range(1, 9) else 1, profile)


def _rebuild(directory: _Directory, data: bytes) -> bytes:
    """Return the file as classic TIFF with a new directory at its end that has only the kept tags."""
    order = directory.order
    table, values, start = b"", b"", len(data) + len(data) % 2
    kept = KEPT & directory.entries.keys()
    if directory.number(SAMPLES, 1) == 1:
        kept.discard(PLANAR)  # one sample has one plane; with the tag, Pillow does not invert white-is-zero
    for tag in sorted(kept):
        kind, count, value = directory.entries[tag]
        if kind in {16, 18}:  # 8-byte integers of BigTIFF
            kind, value = 4, struct.pack(f"{order}{count}I", *directory.numbers(tag))
        if tag in SINGLE and count > 1:  # avoids a warning by Pillow that quotes the file
            count, value = 1, value[: struct.calcsize(order + TYPES[kind])]
        if tag == COLOR_MAP:
            value = _scale_color_map(directory)
            kind, count = 3, len(value) // 2  # SHORT, whatever type the file has
        inline = value.ljust(4, b"\0") if len(value) <= 4 else struct.pack(order + "I", start + len(values))
        table += struct.pack(order + "HHI4s", tag, kind, count, inline)
        values += value + b"\0" * (len(value) % 2) if len(value) > 4 else b""
    head = data[:2] + struct.pack(order + "HI", 42, start + len(values))
    body = data[8:].ljust(start - 8, b"\0") + values
    return head + body + struct.pack(order + "H", len(kept)) + table + bytes(4)


def _scale_color_map(directory: _Directory) -> bytes:
    """Return 16-bit colors. Some programs store 8-bit colors, which libtiff detects by the same rule (`checkcmap`)."""
    colors = directory.numbers(COLOR_MAP)
    factor = 1 if any(color > 255 for color in colors) else 257
    return struct.pack(f"{directory.order}{len(colors)}H", *(color * factor for color in colors))
