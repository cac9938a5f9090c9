"""Decode one HEIC or AVIF file from standard input, with limits on CPU time and memory. `heif.py` starts this program.

It writes a line of JSON, the ICC profile and the pixels to standard output.
"""

import json
import resource
import sys
from io import BytesIO

from PIL import Image

from lambda_app.decoding.header import read_orientation


def main(name: str, memory: int, seconds: int, pixels: int, min_side: int) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    data = sys.stdin.buffer.read()
    try:
        image, orientation, profile = _decode_avif(data, pixels) if name == "AVIF" else _decode_heic(data, pixels)
    except (OSError, ValueError, RuntimeError, SyntaxError, MemoryError, EOFError, IndexError) as error:
        sys.exit(str(error) or type(error).__name__)
    # The first step of `Image.resize(reducing_gap=2)`; doing it here sends fewer pixels through the pipe.
    if min_side and (factor := int(min(image.size) / min_side / 2)) > 1:
        image = image.reduce(factor)
    header = {"mode": image.mode, "size": image.size, "orientation": orientation, "profile": len(profile)}
    sys.stdout.buffer.write(json.dumps(header).encode() + b"\n" + profile + image.tobytes())


def _decode_heic(data: bytes, pixels: int) -> tuple[Image.Image, int, bytes]:
    """Decode HEIC. libheif applies `irot` and `imir`; the EXIF orientation repeats them and is ignored."""
    import pi_heif  # noqa: PLC0415  # AVIF does not need it

    file = pi_heif.open_heif(BytesIO(data))
    _check_size(file.size, pixels)
    image = Image.frombytes(file.mode, file.size, bytes(file.data), "raw", file.mode, file.stride)
    return image, 1, file.info.get("icc_profile") or b""


def _decode_avif(data: bytes, pixels: int) -> tuple[Image.Image, int, bytes]:
    """Decode AVIF. Pillow reports `irot` and `imir` as the EXIF orientation, which replaces that of the EXIF block."""
    from PIL import AvifImagePlugin  # noqa: PLC0415  # HEIC does not need it

    # On 200 cores, the stacks of one thread per core would fill the address space.
    AvifImagePlugin.DEFAULT_MAX_THREADS = 4
    image = AvifImagePlugin.AvifImageFile(BytesIO(data))
    _check_size(image.size, pixels)
    image.load()
    orientation = read_orientation(image.info.get("exif", b""))
    return image, orientation, image.info.get("icc_profile") or b""


def _check_size(size: tuple[int, int], pixels: int) -> None:
    if size[0] * size[1] > pixels:
        raise ValueError(f"the frames have {size[0]}x{size[1]} pixels, more than the file states")


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
