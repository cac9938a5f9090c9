"""Read GIF87a and GIF89a: the first frame. Where it does not cover the canvas, the picture is white."""

import struct
from io import BytesIO

from PIL import GifImagePlugin, Image

from lambda_app.decoding.header import Header, Picture, damaged

EXTENSION, FRAME, GRAPHIC_CONTROL = 0x21, 0x2C, 0xF9
MAX_BLOCKS = 50_000  # each has at most 255 bytes; 4.5 MB of metadata has 18,000


def read_header(data: bytes) -> Header:
    """Read the header of a GIF file. Raise `DamagedPhoto`."""
    if len(data) < 13:
        raise damaged("the GIF ends in its header")
    canvas_width, canvas_height, flags = struct.unpack_from("<HHB", data, 6)
    start = 13 + _table_size(flags)
    position, control = _find_frame(data, start)
    if position + 10 > len(data):
        raise damaged("the GIF ends before its first frame")
    left, top, width, height = struct.unpack_from("<HHHH", data, position + 1)
    canvas = (max(canvas_width, left + width), max(canvas_height, top + height))
    # Decode the frame alone, as a GIF of its own size. Pillow would fill the rest of the canvas with a palette color.
    screen = struct.pack("<6sHH", data[:6], width, height) + data[10:start]
    descriptor = struct.pack("<BHHHH", FRAME, 0, 0, width, height)

    def load(_: int | None) -> Picture:
        image = GifImagePlugin.GifImageFile(BytesIO(screen + control + descriptor + data[position + 9 :]))
        image.load()
        return Picture(place_on_canvas(image, canvas, (left, top)))

    pixels = canvas[0] * canvas[1]
    return Header("GIF", *canvas, memory=pixels * 14 + len(data), seconds=pixels * 50e-9, load=load)


def place_on_canvas(frame: Image.Image, canvas: tuple[int, int], corner: tuple[int, int]) -> Image.Image:
    """Return the frame on a transparent canvas, or unchanged if it covers the canvas."""
    if frame.size == canvas:
        return frame
    image = Image.new("RGBA", canvas)
    image.paste(frame.convert("RGBA"), corner)
    return image


def _table_size(flags: int) -> int:
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def _find_frame(data: bytes, position: int) -> tuple[int, bytes]:
    """Return the position of the first frame and its graphic control extension, which states the transparent color."""
    control = b""
    for _ in range(MAX_BLOCKS):
        kind = data[position : position + 2]
        if kind[:1] == bytes([FRAME]):
            return position, control
        if kind[:1] != bytes([EXTENSION]):
            raise damaged("the GIF has no frame")
        if kind[1:] == bytes([GRAPHIC_CONTROL]):
            control = data[position : position + 8]
        position = _skip_sub_blocks(data, position + 2)
    raise damaged(f"the GIF has more than {MAX_BLOCKS} extensions before its first frame")


def _skip_sub_blocks(data: bytes, position: int) -> int:
    for _ in range(MAX_BLOCKS):
        size = data[position] if position < len(data) else 0
        position += 1 + size
        if not size:
            return position
    raise damaged(f"the GIF has an extension of more than {MAX_BLOCKS} blocks")
