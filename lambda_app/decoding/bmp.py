"""Read BMP: Windows bitmaps of every version, as far as Pillow supports them."""

import struct
from io import BytesIO

from PIL import BmpImagePlugin, Image

from lambda_app.decoding.header import Header, Picture, damaged
from lambda_app.errors import UnsupportedPhoto

HEADERS = {12, 40, 52, 56, 64, 108, 124}  # bytes; 12 and 64 are versions of OS/2
DEPTHS = {1, 4, 8, 16, 24, 32}
COMPRESSIONS = {0: "none", 1: "RLE8", 2: "RLE4", 3: "bit fields"}
RLE_DEPTHS = {1: 8, 2: 4}  # bits, by compression


def read_header(data: bytes) -> Header:
    """Read the header of a BMP file. Raise `DamagedPhoto`, or `UnsupportedPhoto` naming the variant."""
    if len(data) < 26 or len(data) < 14 + (size := int.from_bytes(data[14:18], "little")):
        raise damaged("the BMP ends in its header")
    if size not in HEADERS:
        raise UnsupportedPhoto(f"the BMP has a header of {size} bytes; expected one of {sorted(HEADERS)}")
    width, height, depth, compression = (
        (*struct.unpack_from("<HH2xH", data, 18), 0) if size == 12 else struct.unpack_from("<ii2xHI", data, 18)
    )
    variant = f"a header of {size} bytes, {depth} bits and compression {compression}"
    if depth not in DEPTHS or compression not in COMPRESSIONS or depth != RLE_DEPTHS.get(compression, depth):
        raise UnsupportedPhoto(f"the BMP has {variant}; expected 1 to 32 bits, uncompressed or run-length encoded")
    if size == 64 and (compression == 3 or depth == 16):
        raise UnsupportedPhoto(f"the BMP has {variant}, which only OS/2 defines")
    if width < 0:
        raise damaged(f"the BMP has a width of {width} pixels")
    try:
        image = BmpImagePlugin.BmpImageFile(BytesIO(data))
    except (OSError, SyntaxError) as error:
        raise UnsupportedPhoto(f"the BMP has {variant}: {error}") from error
    # Pillow decodes run lengths in Python and holds the GIL.
    pixels = width * abs(height)
    seconds = pixels * 200e-9 + len(data) * 0.45e-6 if compression in RLE_DEPTHS else pixels * 8e-9
    return Header("BMP", width, abs(height), pixels * 12 + len(data), seconds, load=lambda _: _load(image))


def _load(image: Image.Image) -> Picture:
    image.load()
    return Picture(image)
