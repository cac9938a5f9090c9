"""HEIC and AVIF (ISO/IEC 23008-12): what iPhones store and web sites send, decoded in a child process with limits.

The boxes of the file state a size, and the video frames within it may have another one, which libheif and libavif
allocate before they compare the two. So a child decodes, which the kernel stops at its limits of CPU time and memory.
Starting it takes 60 ms; a photo of 12 megapixels takes about ten times as long.
"""

import json
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from PIL import Image

from lambda_app.decoding.color import Colorimetry, profile_of
from lambda_app.decoding.header import Header, Picture, damaged
from lambda_app.errors import DamagedPhoto, UnsupportedPhoto

MAX_BOXES = 5000  # of one level; the grid of a photo of 48 megapixels has about 200 tiles
CONTAINERS = {b"meta": 4, b"iprp": 0, b"ipco": 0}  # bytes before their first box
CODECS = {b"hvcC": "HEIC", b"av1C": "AVIF"}
ROOT = Path(__file__).parents[2]  # where `lambda_app` can be imported from
CHILD_MEMORY = 250_000_000  # bytes of address space: Python, the libraries and libheif's threads take 170 MB
BYTES_PER_PIXEL = 14
CHILD_SECONDS = 5  # of CPU time; a photo of 25 megapixels takes 2


def read_header(data: bytes) -> Header:
    """Raise `DamagedPhoto`, or `UnsupportedPhoto` naming the variant."""
    boxes = [*_boxes(data, 0, len(data))]
    sizes = [
        struct.unpack_from(">II", data, start + 4)
        for kind, start, end in boxes
        if kind == b"ispe" and end - start >= 12
    ]
    codecs = {CODECS[kind] for kind, _, _ in boxes if kind in CODECS}
    if not codecs:
        brand = data[8:12].decode("latin-1")
        raise UnsupportedPhoto(f"the file of brand {brand!r} has no HEVC or AV1 picture; expected HEIC or AVIF")
    if not sizes:
        raise damaged("the file states no size")
    profile = _colorimetry(data[start:end] for kind, start, end in boxes if kind == b"colr")
    width, height = max(sizes, key=lambda size: size[0] * size[1])  # the grid, not one of its tiles
    pixels = width * height
    name = "AVIF" if codecs == {"AVIF"} else "HEIC"
    memory = pixels * BYTES_PER_PIXEL + len(data)

    def load(min_side: int | None) -> Picture:
        return _load(data, name, pixels, profile, min_side)

    return Header(name, width, height, memory, pixels * 80e-9, load)


def _boxes(data: bytes, position: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Yield the kind of each box and where its content begins and ends, descending to the pictures' properties."""
    for _ in range(MAX_BOXES):
        if position + 8 > end:
            return
        size, kind = struct.unpack_from(">I4s", data, position)
        start = position + 8
        if size == 1 and position + 16 <= end:
            start, size = position + 16, int.from_bytes(data[position + 8 : position + 16], "big")
        stop = position + size if size else end
        if stop <= position or start > stop:
            raise damaged(f"box {kind!r} has a size of {size} bytes")
        yield kind, start, min(stop, end)
        if kind in CONTAINERS:
            yield from _boxes(data, start + CONTAINERS[kind], min(stop, end))
        position = stop
    raise damaged(f"the file has more than {MAX_BOXES} boxes")


def _colorimetry(boxes: Iterator[bytes]) -> bytes | None:
    """Return the profile of the first `nclx` box. An ICC profile, which the child returns, comes before it."""
    for box in boxes:
        if box[:4] == b"nclx" and len(box) >= 8:
            return profile_of(Colorimetry.of_code_points(*struct.unpack_from(">HH", box, 4)))
    return None


def _load(data: bytes, name: str, pixels: int, profile: bytes | None, min_side: int | None) -> Picture:
    limits = map(str, (CHILD_MEMORY + pixels * BYTES_PER_PIXEL, CHILD_SECONDS, pixels, min_side or 0))
    command = [sys.executable, "-m", "lambda_app.decoding.heif_child", name, *limits]
    child = subprocess.run(command, input=data, capture_output=True, cwd=ROOT, check=False)
    if child.returncode:
        *_, reason = child.stderr.decode(errors="replace").strip().splitlines() or [f"exit status {child.returncode}"]
        raise DamagedPhoto(f"the image is damaged: the {name} cannot be decoded ({reason})")
    head, _, rest = child.stdout.partition(b"\n")
    answer = json.loads(head)
    icc, raster = rest[: answer["profile"]], rest[answer["profile"] :]
    image = Image.frombytes(answer["mode"], tuple(answer["size"]), raster)
    return Picture(image, answer["orientation"], icc or profile)
