"""Read WebP (RFC 9649): the picture, or the first frame of an animation, over white."""

import struct
from io import BytesIO

from PIL import WebPImagePlugin

from lambda_app.decoding.gif import place_on_canvas
from lambda_app.decoding.header import Header, Picture, damaged, read_orientation, usable_profile

ALPHA = 0x10  # flag in VP8X
MAX_CHUNKS = 10_000  # an animation has a chunk for each frame, and the first frame comes early


def read_header(data: bytes) -> Header:
    """Read the header of a WebP file. Raise `DamagedPhoto`."""
    chunks = frame = _read_chunks(data, 12)
    canvas, corner = None, (0, 0)
    if (animation := chunks.get(b"ANMF", b"")) and len(chunks.get(b"VP8X", b"")) >= 10:
        frame = _read_chunks(animation, 16)
        corner = (2 * _read_uint24(animation, 0), 2 * _read_uint24(animation, 3))
        canvas = (_read_uint24(chunks[b"VP8X"], 4) + 1, _read_uint24(chunks[b"VP8X"], 7) + 1)
    width, height = _frame_size(frame)
    size = canvas or (width, height)
    if corner[0] + width > size[0] or corner[1] + height > size[1]:
        raise damaged(f"a frame of {width}x{height} pixels at {corner} does not fit its canvas of {size[0]}x{size[1]}")
    file = _build_still(frame, width, height)
    pixels = size[0] * size[1]

    def load(_: int | None) -> Picture:
        image = WebPImagePlugin.WebPImageFile(BytesIO(file))
        image.load()
        return Picture(
            place_on_canvas(image, size, corner),
            read_orientation(chunks.get(b"EXIF", b"")),
            usable_profile(chunks.get(b"ICCP", b"")),
        )

    return Header(
        format="WEBP",
        width=size[0],
        height=size[1],
        memory=pixels * 17 + len(file),
        seconds=pixels * 60e-9,
        load=load,
    )


def _read_chunks(data: bytes, position: int) -> dict[bytes, bytes]:
    """Return the content of the first chunk of each kind."""
    chunks: dict[bytes, bytes] = {}
    for _ in range(MAX_CHUNKS):
        if position + 8 > len(data):
            return chunks
        kind, size = struct.unpack_from("<4sI", data, position)
        chunks.setdefault(kind, data[position + 8 : position + 8 + size])
        position += 8 + size + (size & 1)
    return chunks


def _read_uint24(data: bytes, position: int) -> int:
    return int.from_bytes(data[position : position + 3], "little")


def _frame_size(frame: dict[bytes, bytes]) -> tuple[int, int]:
    """Read the size from the bitstream (RFC 6386, section 9.1; RFC 9649, section 3.4)."""
    lossy, lossless = frame.get(b"VP8 ", b""), frame.get(b"VP8L", b"")
    if lossy[3:6] == b"\x9d\x01\x2a" and len(lossy) >= 10:
        width, height = struct.unpack_from("<HH", lossy, 6)
        return width & 0x3FFF, height & 0x3FFF
    if lossless[:1] == b"\x2f" and len(lossless) >= 5:
        bits = int.from_bytes(lossless[1:5], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    raise damaged("the WebP has no picture")


def _build_still(frame: dict[bytes, bytes], width: int, height: int) -> bytes:
    """Return a WebP file that has only the frame, without metadata."""
    chunks: list[tuple[bytes, bytes]] = [(kind, frame[kind]) for kind in (b"ALPH", b"VP8 ", b"VP8L") if kind in frame]
    if b"ALPH" in frame:
        size = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
        chunks.insert(0, (b"VP8X", bytes([ALPHA, 0, 0, 0]) + size))
    body = b"".join(
        struct.pack("<4sI", kind, len(content)) + content + b"\0" * (len(content) & 1) for kind, content in chunks
    )
    return struct.pack("<4sI4s", b"RIFF", 4 + len(body), b"WEBP") + body
