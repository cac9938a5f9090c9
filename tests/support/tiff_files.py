"""Generate uncompressed TIFF files of any photometric interpretation, depth and number of samples."""

import struct
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tests.support.photo_files import HEIGHT, WIDTH, packed, picture

BYTE, SHORT, LONG, RATIONAL = 1, 3, 4, 5
WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, CMYK, YCBCR, LAB = 0, 1, 2, 3, 5, 6, 8
CHANNELS = {WHITE_IS_ZERO: 1, BLACK_IS_ZERO: 1, RGB: 3, PALETTE: 1, CMYK: 4, YCBCR: 3, LAB: 3}


@dataclass(frozen=True)
class Tiff:
    """The layout of the pixels in the file."""

    photometric: int
    bits: int
    extra: tuple[int, ...] = ()  # 0 unspecified, 1 associated alpha, 2 unassociated alpha
    sample_format: int = 1  # 1 unsigned, 2 signed, 3 floating point
    color_map_factor: int = 257  # 1 for a color map of 8-bit values

    def samples(self) -> NDArray[np.uint32]:
        """Return (HEIGHT, WIDTH, samples) values over the whole range of the depth."""
        colors = picture()[..., : CHANNELS[self.photometric]]
        alphas = [picture()[..., 3:]] * len(self.extra)
        if self.extra[:1] == (1,):
            colors = colors * alphas[0]
        values = np.concatenate([colors, *alphas], axis=-1)
        return (values * ((1 << self.bits) - 1)).round().astype(np.uint32)

    def file(self) -> bytes:
        samples = self.samples()
        count = samples.shape[-1]
        pixels = samples.astype("<u4").tobytes() if self.bits == 32 else b"".join(self._row(row) for row in samples)
        tags = {
            256: (SHORT, [WIDTH]),
            257: (SHORT, [HEIGHT]),
            258: (SHORT, [self.bits] * count),
            259: (SHORT, [1]),
            262: (SHORT, [self.photometric]),
            273: (LONG, [8]),
            277: (SHORT, [count]),
            278: (SHORT, [HEIGHT]),
            279: (LONG, [len(pixels)]),
        }
        if self.photometric == PALETTE:
            levels = np.linspace(0, 255, 1 << self.bits).astype(int)
            tags[320] = (SHORT, [*np.concatenate([levels, levels[::-1], levels // 2]) * self.color_map_factor])
        if self.extra:
            tags[338] = (SHORT, [*self.extra])
        if self.sample_format != 1:
            tags[339] = (SHORT, [self.sample_format] * count)
        if self.photometric == YCBCR:
            tags[530] = (SHORT, [1, 1])
            tags[532] = (RATIONAL, [0, 1, 255, 1, 128, 1, 255, 1, 128, 1, 255, 1])
        return _assembled(pixels + b"\0" * (len(pixels) % 2), tags)

    def _row(self, row: NDArray[np.uint32]) -> bytes:
        values = row.ravel().astype(np.uint16)
        if self.bits == 16:
            return values.astype("<u2").tobytes()
        if self.bits == 12:
            text = "".join(f"{value:012b}" for value in values)
            return int(text, 2).to_bytes(len(text) // 8, "big")
        return packed(values, self.bits)


def _assembled(pixels: bytes, tags: dict[int, tuple[int, list[int]]]) -> bytes:
    values, table, start = b"", b"", 8 + len(pixels)
    for tag, (kind, numbers) in sorted(tags.items()):
        raw = struct.pack(f"<{len(numbers)}{'H' if kind == SHORT else 'I'}", *numbers)
        inline = raw.ljust(4, b"\0") if len(raw) <= 4 else struct.pack("<I", start + len(values))
        values += raw + b"\0" * (len(raw) % 2) if len(raw) > 4 else b""
        table += struct.pack("<HHI4s", tag, kind, len(numbers) // (2 if kind == RATIONAL else 1), inline)
    return (
        struct.pack("<2sHI", b"II", 42, start + len(values))
        + pixels
        + values
        + struct.pack("<H", len(tags))
        + table
        + bytes(4)
    )


def find_tag(data: bytes, tag: int) -> int:
    """Return the position of a tag's entry in the directory."""
    start = int.from_bytes(data[4:8], "little") + 2
    entries = range(start, start + 12 * int.from_bytes(data[start - 2 : start], "little"), 12)
    [offset] = [entry for entry in entries if int.from_bytes(data[entry : entry + 2], "little") == tag]
    return offset


def with_entry(data: bytes, tag: int, kind: int, count: int, value: int) -> bytes:
    """Return the file with another type, number of values, and value or position of values of a tag."""
    offset = find_tag(data, tag)
    return data[:offset] + struct.pack("<HHII", tag, kind, count, value) + data[offset + 12 :]
