"""Check that each TIFF of libtiff's `tiffcp` is decoded like `tiff2rgba` does, or refused by name."""

import contextlib
import shutil
import struct
import subprocess
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from lambda_app.decoding.tiff import COMPRESSION, SAMPLE_FORMAT
from lambda_app.errors import DamagedPhoto, RequestError, UnsupportedPhoto
from lambda_app.preprocess import decode
from tests.support.photo_files import HEIGHT, MAX_DIFFERENCE, WIDTH, picture
from tests.support.tiff_files import (
    BLACK_IS_ZERO,
    CMYK,
    LAB,
    PALETTE,
    RGB,
    SHORT,
    WHITE_IS_ZERO,
    YCBCR,
    Tiff,
    find_tag,
)

pytestmark = [pytest.mark.process, pytest.mark.slow]

READ = {
    **{f"white-is-zero {bits}": Tiff(WHITE_IS_ZERO, bits) for bits in (1, 2, 4, 8, 16)},
    **{f"black-is-zero {bits}": Tiff(BLACK_IS_ZERO, bits) for bits in (1, 2, 4, 8, 16)},
    **{f"palette {bits}": Tiff(PALETTE, bits) for bits in (1, 2, 4, 8)},
    **{f"palette {bits}, 8-bit color map": Tiff(PALETTE, bits, color_map_factor=1) for bits in (1, 2, 4, 8)},
    "RGB 8": Tiff(RGB, 8),
    "RGB 16": Tiff(RGB, 16),
    **{f"RGB {bits}, alpha {kind}": Tiff(RGB, bits, (kind,)) for bits in (8, 16) for kind in (1, 2)},
    "black-is-zero 8, alpha 1": Tiff(BLACK_IS_ZERO, 8, (1,)),
    "CMYK 8": Tiff(CMYK, 8),
    "YCbCr 8": Tiff(YCBCR, 8),
}
# libtiff shows these wrongly or not at all; the stored picture is expected.
READ_WITHOUT_LIBTIFF = {
    "black-is-zero 8, alpha 2": Tiff(BLACK_IS_ZERO, 8, (2,)),  # libtiff does not multiply gray by alpha
    "black-is-zero 12": Tiff(BLACK_IS_ZERO, 12),
}
REFUSED = {
    **{f"RGB {bits}": Tiff(RGB, bits) for bits in (1, 2, 4, 12, 32)},
    **{f"white-is-zero {bits}": Tiff(WHITE_IS_ZERO, bits) for bits in (12, 32)},
    "black-is-zero 32": Tiff(BLACK_IS_ZERO, 32),
    "floating point": Tiff(BLACK_IS_ZERO, 32, sample_format=3),
    **{f"signed {bits}": Tiff(BLACK_IS_ZERO, bits, sample_format=2) for bits in (8, 16)},
    "signed RGB": Tiff(RGB, 8, sample_format=2),
    **{f"black-is-zero 16, alpha {kind}": Tiff(BLACK_IS_ZERO, 16, (kind,)) for kind in (1, 2)},
    **{f"white-is-zero {bits}, alpha": Tiff(WHITE_IS_ZERO, bits, (2,)) for bits in (8, 16)},
    **{f"{name} {bits}, unspecified extra sample": Tiff(kind, bits, (0,))
       for name, kind in {"gray": BLACK_IS_ZERO, "RGB": RGB, "palette": PALETTE, "CMYK": CMYK}.items()
       for bits in ((8,) if kind == PALETTE else (8, 16))},
    "RGB 8, two extra samples": Tiff(RGB, 8, (2, 0)),
    "CMYK 16": Tiff(CMYK, 16),
    "YCbCr 16": Tiff(YCBCR, 16),
    **{f"CIELAB {bits}": Tiff(LAB, bits) for bits in (8, 16)},
}  # fmt: skip

STRIPS, TILES = ["-s", "-r", "7"], ["-t", "-w", "16", "-l", "16"]
COMPRESSIONS = ["none", "lzw", "lzw:2", "zip", "zip:2", "packbits", "lzma", "zstd", "zstd:2", "jpeg", "jpeg:r"]
LAYOUTS = [
    [],
    *(["-c", compression, "-p", "contig", *pieces] for compression, pieces in product(COMPRESSIONS, (STRIPS, TILES))),
    ["-c", "none", "-8"],
    ["-c", "none", "-B"],
    ["-c", "lzw", "-B"],
    ["-c", "zip:2", "-8", "-B"],
]
PLANES = [
    ["-c", compression, "-p", "separate", *pieces]
    for compression, pieces in product(("none", "lzw:2", "jpeg"), (STRIPS, TILES))
]
UNUSUAL = [["-c", "none", "-f", "lsb2msb"], ["-c", "g4"], ["-c", "g3"], ["-c", "g3:2d"]]


def converted(data: bytes, options: list[str], folder: Path) -> bytes | None:
    """Return the file that `tiffcp` writes with these options, or None if it refuses the combination."""
    if not shutil.which("tiffcp"):
        pytest.skip("tiffcp is not on PATH")
    if not options:
        return data
    source, target = folder / "original.tif", folder / "converted.tif"
    source.write_bytes(data)
    target.unlink(missing_ok=True)
    program = subprocess.run(["tiffcp", *options, source, target], capture_output=True, check=False)
    return None if program.returncode else target.read_bytes()


def as_libtiff_shows(data: bytes, folder: Path) -> np.ndarray | None:
    """Return (HEIGHT, WIDTH, 3) over white, or None if `tiff2rgba` refuses the file."""
    source, target = folder / "source.tif", folder / "rgba.tif"
    source.write_bytes(data)
    target.unlink(missing_ok=True)
    program = subprocess.run(["tiff2rgba", "-c", "none", source, target], capture_output=True, check=False)
    if program.returncode or not target.exists():
        return None
    # The pixels are premultiplied and follow the header. Pillow cannot read all files of `tiff2rgba`.
    rgba = np.frombuffer(target.read_bytes(), np.uint8, HEIGHT * WIDTH * 4, 8).reshape(HEIGHT, WIDTH, 4).astype(int)
    return rgba[..., :3] + 255 - rgba[..., 3:]


def as_stored(tiff: Tiff) -> np.ndarray:
    """Return the gray or RGB samples of `picture` over white, (HEIGHT, WIDTH, 3)."""
    colors = picture()[..., :3] if tiff.photometric == RGB else picture()[..., :1]
    colors = 1 - colors if tiff.photometric == WHITE_IS_ZERO else colors
    alpha = picture()[..., 3:] if tiff.extra else 1
    return np.broadcast_to((colors * alpha + 1 - alpha) * 255, (HEIGHT, WIDTH, 3))


@pytest.mark.parametrize("name", READ | READ_WITHOUT_LIBTIFF)
def test_tiff_is_decoded_as_libtiff_does(name, tmp_path):
    """Strips, tiles, all compressions, both byte orders and BigTIFF differ by at most 3 of 255 on average."""
    tiff = (READ | READ_WITHOUT_LIBTIFF)[name]
    compared = 0
    for options in LAYOUTS:
        data = converted(tiff.file(), options, tmp_path)
        if data is None:
            continue
        try:
            actual = np.asarray(decode(data)).astype(int)
        except UnsupportedPhoto:
            assert "-B" in options or tiff.bits == 12  # Pillow lacks some big-endian variants and compressed 12 bits
            continue
        # libtiff 4.5 garbles the last column of tiles of 16-bit gray.
        is_garbled = "-t" in options and tiff.bits == 16 and tiff.photometric != RGB
        expected = None if is_garbled or name in READ_WITHOUT_LIBTIFF else as_libtiff_shows(data, tmp_path)
        expected = as_stored(tiff) if expected is None else expected
        assert np.abs(expected - actual).mean() <= MAX_DIFFERENCE, options
        compared += 1
    assert compared >= (3 if tiff.bits == 12 else 10)


@pytest.mark.parametrize("name", READ)
def test_tiff_in_separate_planes_is_decoded_or_refused(name, tmp_path):
    """Separate planes never give wrong pixels."""
    for options in PLANES:
        if (data := converted(READ[name].file(), options, tmp_path)) is None:
            continue
        try:
            actual = np.asarray(decode(data)).astype(int)
        except (UnsupportedPhoto, DamagedPhoto):
            assert "," in name or "YCbCr" in name or READ[name].bits == 16 or "jpeg" in options[1]
            continue
        expected = None if READ[name].bits == 16 else as_libtiff_shows(data, tmp_path)
        expected = as_stored(READ[name]) if expected is None else expected
        assert np.abs(expected - actual).mean() <= MAX_DIFFERENCE, options


@pytest.mark.parametrize("name", REFUSED)
def test_tiff_variant_is_refused_by_name(name, tmp_path):
    """The error names bits and photometric interpretation, whatever the layout of the pixels."""
    for options in ([], ["-c", "lzw", *TILES], ["-c", "zip", "-p", "separate"], ["-c", "none", "-B"]):
        if data := converted(REFUSED[name].file(), options, tmp_path):
            with pytest.raises(UnsupportedPhoto, match=r"the TIFF is .* samples? of [\d/]+ bits \("):
                decode(data)


@pytest.mark.parametrize("options", UNUSUAL, ids=" ".join)
def test_tiff_of_a_fax_is_refused(options, tmp_path):
    """Fax machines use CCITT compression and reversed bits; libtiff writes a warning for each damaged row."""
    data = converted(Tiff(BLACK_IS_ZERO, 1).file(), options, tmp_path)
    with pytest.raises(UnsupportedPhoto, match=r"compression .*fill order"):
        decode(data)


def test_tiff_with_progressive_jpeg_data_is_refused(tmp_path):
    """A progressive marker is refused in a strip, and ignored after the picture."""
    data = converted(Tiff(RGB, 8).file(), ["-c", "jpeg"], tmp_path)
    np.testing.assert_array_equal(np.asarray(decode(data)), np.asarray(decode(data + b"8BIM\xff\xc2")))
    offset = data.index(b"\xff\xc0")
    with pytest.raises(UnsupportedPhoto, match="progressive JPEG data"):
        decode(data[:offset] + b"\xff\xc2" + data[offset + 2 :])


def test_tiff_with_an_empty_sample_format_is_decoded():
    """A tag `SampleFormat` without values means unsigned samples, as an absent one does."""
    data = Tiff(BLACK_IS_ZERO, 8).file()
    entry = find_tag(data, COMPRESSION)  # whose value, none, is the default
    empty = data[:entry] + struct.pack("<HHII", SAMPLE_FORMAT, SHORT, 0, 0) + data[entry + 12 :]
    np.testing.assert_array_equal(np.asarray(decode(data)), np.asarray(decode(empty)))


@pytest.mark.parametrize("options", [["-c", "zip"], ["-c", "lzw"], ["-c", "jpeg"]], ids=" ".join)
def test_tiff_that_is_damaged_writes_nothing(options, tmp_path, capfd):
    """Decoding a damaged TIFF writes nothing to standard output and standard error."""
    data = converted(Tiff(RGB, 8).file(), [*options, "-r", "16"], tmp_path)
    for offset in range(8, len(data) - 400, 97):
        with contextlib.suppress(RequestError):
            decode(data[:offset] + bytes(60) + data[offset + 60 :])
    assert ("", "") == tuple(capfd.readouterr())
