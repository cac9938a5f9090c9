"""Test that a header with impossible values is refused, with the reason, before the photo is decoded."""

import struct

import pytest

from infra.bench.decoding import png_chunk
from lambda_app.errors import DamagedPhoto, UnsupportedPhoto
from lambda_app.preprocess import preprocess
from tests.support.tiff_files import BLACK_IS_ZERO, LONG, SHORT, Tiff, with_entry

PNG = b"\x89PNG\r\n\x1a\n"


def bmp(size: int = 40, width: int = 8, depth: int = 24, compression: int = 0) -> bytes:
    fields = struct.pack("<IiiHHI", size, width, 8, 1, depth, compression)
    return b"BM" + bytes(12) + fields + bytes(size - len(fields)) + bytes(8 * 8 * 4)


def png(*chunks: tuple[bytes, bytes]) -> bytes:
    return PNG + b"".join(png_chunk(kind, content) for kind, content in chunks)


def png_header(depth: int, color_type: int, interlace: int = 0) -> tuple[bytes, bytes]:
    return b"IHDR", struct.pack(">IIBBBBB", 8, 8, depth, color_type, 0, 0, interlace)


def box(kind: bytes, content: bytes, size: int | None = None) -> bytes:
    return struct.pack(">I4s", size or 8 + len(content), kind) + content


HEIC = box(b"ftyp", b"heic" + bytes(4) + b"mif1")
TIFF = Tiff(BLACK_IS_ZERO, 8).file()
DAMAGED = {
    "a BMP that ends in its header": (bmp()[:30], "the BMP ends in its header"),
    "a BMP of negative width": (bmp(width=-8), "the BMP has a width of -8 pixels"),
    "a PNG that begins with another chunk": (png((b"gAMA", bytes(4))), "the PNG does not begin with its header"),
    "a PNG without pixels": (png(png_header(8, 2), (b"IEND", b"")), "the PNG has no pixels"),
    "a JPEG whose scan comes first": (
        b"\xff\xd8\xff\xda" + struct.pack(">H", 8) + bytes(6) + b"\xff\xd9",
        "the JPEG has no frame before its first scan",
    ),
    "a TIFF whose directory lies outside": (
        struct.pack("<2sHI", b"II", 42, 1000),
        "the TIFF ends before its directory does",
    ),
    "a TIFF with a huge directory": (
        struct.pack("<2sHIH", b"II", 42, 8, 65_535) + bytes(100),
        "the TIFF has a directory of 65535 entries; at most",
    ),
    "a TIFF whose JPEG strips exceed the file": (
        with_entry(with_entry(TIFF, 259, SHORT, 1, 7), 279, LONG, 1, 1_000_000),
        "the strips or tiles of the TIFF overlap",
    ),
    "a HEIC without a size": (HEIC + box(b"hvcC", bytes(8)), "the file has no image size"),
    "a HEIC box shorter than its header": (HEIC + box(b"meta", bytes(8), 4), "has a size of 4 bytes"),
}
UNSUPPORTED = {
    "a BMP header of an unknown version": (bmp(41), "the BMP has a header of 41 bytes; expected one of"),
    "a BMP of 3 bits": (bmp(depth=3), "3 bits and compression 0; expected 1 to 32 bits"),
    "a run-length encoded BMP of 24 bits": (bmp(compression=1), "24 bits and compression 1; expected 1 to 32 bits"),
    "a bitmap of OS/2 with Huffman codes": (bmp(64, depth=1, compression=3), "which only OS/2 defines"),
    "a bitmap of OS/2 with 16 bits": (bmp(64, depth=16), "which only OS/2 defines"),
    "an RGB PNG of 4 bits": (png(png_header(4, 2), (b"IDAT", b"x")), "color type 2 with 4 bits"),
    "a PNG of an unknown interlacing": (png(png_header(8, 2, 2), (b"IDAT", b"x")), "color type 2 with 8 bits"),
}


@pytest.mark.parametrize(("data", "message"), DAMAGED.values(), ids=DAMAGED)
def test_impossible_header_is_damaged(data, message):
    """The error is the sender's, and names what is wrong."""
    with pytest.raises(DamagedPhoto, match=message):
        preprocess(data, 32)


@pytest.mark.parametrize(("data", "message"), UNSUPPORTED.values(), ids=UNSUPPORTED)
def test_unknown_variant_is_unsupported(data, message):
    """The error names the variant."""
    with pytest.raises(UnsupportedPhoto, match=message):
        preprocess(data, 32)
