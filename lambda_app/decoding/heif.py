"""Read HEIC and AVIF (ISO/IEC 23008-12), the formats of iPhones and many web sites, in a child process with limits.

The boxes of a file state a size, but its video frames may be larger, and libheif and libavif allocate memory for the
frames before they compare the sizes. So a child process decodes, and the kernel enforces its limits of CPU time and
memory. Starting the process takes 60 ms; decoding 12 megapixels takes about 0.6 s.
"""

import json
import os
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from PIL import Image

from lambda_app.decoding.color import Colorimetry, build_profile
from lambda_app.decoding.header import Header, Picture, damaged
from lambda_app.errors import Overloaded, UnsupportedPhoto

MAX_BOXES = 5000  # the grid of a photo of 48 megapixels has about 200 tiles
# Maps each box to the child box to descend into and the size of the child's header, down to the pictures' properties.
DESCENT = {b"": (b"meta", 4), b"meta": (b"iprp", 0), b"iprp": (b"ipco", 0), b"ipco": (b"", 0)}
CODECS = {b"hvcC": "HEIC", b"av1C": "AVIF"}
# By default, the heap of each thread reserves 64 MB of address space.
ONE_HEAP = {"GLIBC_TUNABLES": "glibc.malloc.arena_max=1"}
ROOT = Path(__file__).parents[2]  # the folder from which the child imports `lambda_app`
CHILD_MEMORY = 80_000_000  # bytes of address space without the picture; Python and the libraries take 41 MB
BYTES_PER_PIXEL = 14
CHILD_SECONDS = 4  # CPU time: twice `MAX_SECONDS`, for slower machines
CHILD_WAIT_S = 60  # wall time


def read_header(data: bytes) -> Header:
    """Read the header of a HEIC or AVIF file. Raise `DamagedPhoto`, or `UnsupportedPhoto` naming the variant."""
    boxes = [*_walk_boxes(data)]
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
        raise damaged("the file has no image size (`ispe` box)")
    profile = _read_colorimetry(data[start:end] for kind, start, end in boxes if kind == b"colr")
    width, height = max(sizes, key=lambda size: size[0] * size[1])  # the size of the grid, not of its tiles
    pixels = width * height
    name = "AVIF" if codecs == {"AVIF"} else "HEIC"
    memory = CHILD_MEMORY + pixels * BYTES_PER_PIXEL + len(data)

    def load(min_side: int | None) -> Picture:
        return _load(data, name, pixels, profile, min_side)

    return Header(name, width, height, memory, 0.1 + pixels * 60e-9, load)


def _walk_boxes(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield the kind, start and end of each box's content, down to the pictures' properties."""
    pending = [(b"", 0, len(data))]
    count = 0
    while pending:
        parent, position, end = pending.pop()
        while position + 8 <= end:
            count += 1
            if count > MAX_BOXES:
                raise damaged(f"the file has more than {MAX_BOXES} boxes")
            kind, start, stop = _read_box(data, position, end)
            yield kind, start, stop
            child, skipped = DESCENT[parent]
            if kind == child:
                pending.append((kind, start + skipped, stop))
            position = stop


def _read_box(data: bytes, position: int, end: int) -> tuple[bytes, int, int]:
    size, kind = struct.unpack_from(">I4s", data, position)
    start = position + 8
    if size == 1 and position + 16 <= end:
        start, size = position + 16, int.from_bytes(data[position + 8 : position + 16], "big")
    stop = position + size if size else end
    if stop < start:
        raise damaged(f"box {kind!r} has a size of {size} bytes")
    return kind, start, min(stop, end)


def _read_colorimetry(boxes: Iterator[bytes]) -> bytes | None:
    """Return the profile of the first `nclx` box. An ICC profile, which the child returns, takes precedence."""
    for box in boxes:
        if box[:4] == b"nclx" and len(box) >= 8:
            return build_profile(Colorimetry.from_code_points(*struct.unpack_from(">HH", box, 4)))
    return None


def _load(data: bytes, name: str, pixels: int, profile: bytes | None, min_side: int | None) -> Picture:
    limits = map(str, (CHILD_MEMORY + pixels * BYTES_PER_PIXEL, CHILD_SECONDS, pixels, min_side or 0))
    command = [sys.executable, "-m", "lambda_app.decoding.heif_child", name, *limits]
    try:
        child = subprocess.run(
            command,
            input=data,
            capture_output=True,
            cwd=ROOT,
            env=os.environ | ONE_HEAP,
            timeout=CHILD_WAIT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise Overloaded(f"decoding the {name} did not finish within {CHILD_WAIT_S} s; try again later") from error
    if child.returncode:
        *_, reason = child.stderr.decode(errors="replace").strip().splitlines() or [f"exit status {child.returncode}"]
        raise damaged(f"the {name} cannot be decoded ({reason})")
    head, _, rest = child.stdout.partition(b"\n")
    header = json.loads(head)
    icc, raster = rest[: header["profile"]], rest[header["profile"] :]
    image = Image.frombytes(header["mode"], tuple(header["size"]), raster)
    return Picture(image, header["orientation"], icc or profile)
