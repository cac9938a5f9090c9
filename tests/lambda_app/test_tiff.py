"""Each TIFF that libtiff's `tiffcp` writes is decoded like libtiff's `tiff2rgba`, or refused by name."""

import contextlib
import shutil
import struct
import subprocess
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lambda_app.errors import DamagedPhoto, PhotoTooLarge, RequestError, UnsupportedPhoto
from lambda_app.preprocess import decode, preprocess
from tests.support.photo_files import HEIGHT, WIDTH, photo, picture, saved
from tests.support.tiff_files import BLACK_IS_ZERO, CMYK, LAB, PALETTE, RGB, WHITE_IS_ZERO, YCBCR, Tiff

pytestmark = [pytest.mark.process, pytest.mark.slow]
LIMIT = 3  # of 255, on average

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


@pytest.fixture(scope="module", autouse=True)
def _libtiff_tools():
    if not shutil.which("tiffcp"):
        pytest.skip("tiffcp is not on PATH")


def converted(source: Path, options: list[str]) -> bytes | None:
    """Return the file that `tiffcp` writes with these options, or None if it refuses the combination."""
    if not options:
        return source.read_bytes()
    target = source.with_name("converted.tif")
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
    source = tmp_path / "original.tif"
    source.write_bytes(tiff.file())
    compared = 0
    for options in LAYOUTS:
        data = converted(source, options)
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
        assert np.abs(expected - actual).mean() <= LIMIT, options
        compared += 1
    assert compared >= (3 if tiff.bits == 12 else 10)


@pytest.mark.parametrize("name", READ)
def test_tiff_in_separate_planes_is_decoded_or_refused(name, tmp_path):
    """Separate planes never give wrong pixels."""
    source = tmp_path / "original.tif"
    source.write_bytes(READ[name].file())
    for options in PLANES:
        if (data := converted(source, options)) is None:
            continue
        try:
            actual = np.asarray(decode(data)).astype(int)
        except (UnsupportedPhoto, DamagedPhoto):
            assert "," in name or "YCbCr" in name or READ[name].bits == 16 or "jpeg" in options[1]
            continue
        expected = None if READ[name].bits == 16 else as_libtiff_shows(data, tmp_path)
        expected = as_stored(READ[name]) if expected is None else expected
        assert np.abs(expected - actual).mean() <= LIMIT, options


@pytest.mark.parametrize("name", REFUSED)
def test_tiff_variant_is_refused_by_name(name, tmp_path):
    """The error names bits and photometric interpretation, whatever the layout of the pixels."""
    source = tmp_path / "original.tif"
    source.write_bytes(REFUSED[name].file())
    for options in ([], ["-c", "lzw", *TILES], ["-c", "zip", "-p", "separate"], ["-c", "none", "-B"]):
        if data := converted(source, options):
            with pytest.raises(UnsupportedPhoto, match=r"the TIFF is .* samples? of [\d/]+ bits \("):
                decode(data)


def find_tag(data, tag):
    """Return the position of a tag's entry in the directory."""
    start = int.from_bytes(data[4:8], "little") + 2
    entries = range(start, start + 12 * int.from_bytes(data[start - 2 : start], "little"), 12)
    [offset] = [entry for entry in entries if int.from_bytes(data[entry : entry + 2], "little") == tag]
    return offset


@pytest.mark.parametrize(("kind", "character"), [(1, "B"), (4, "I")], ids=["BYTE", "LONG"])
def test_tiff_color_map_of_another_type_is_read(kind, character):
    """The specification requires SHORT; Pillow would read the rebuilt map with the type of the file."""
    data = Tiff(PALETTE, 8, color_map_factor=1).file()
    offset = find_tag(data, 320)
    count, start = struct.unpack_from("<II", data, offset + 4)
    colors = struct.unpack_from(f"<{count}H", data, start)
    other = data[:offset] + struct.pack("<HHII", 320, kind, count, len(data)) + data[offset + 12 :]
    actual = decode(other + struct.pack(f"<{count}{character}", *colors))
    np.testing.assert_array_equal(np.asarray(decode(data)), np.asarray(actual))


@pytest.mark.parametrize("options", UNUSUAL, ids=" ".join)
def test_tiff_of_a_fax_is_refused(options, tmp_path):
    """Fax machines use CCITT compression and reversed bits; libtiff writes a warning for each damaged row."""
    source = tmp_path / "original.tif"
    source.write_bytes(Tiff(BLACK_IS_ZERO, 1).file())
    with pytest.raises(UnsupportedPhoto, match=r"compression .*fill order"):
        decode(converted(source, options))


def test_tiff_with_too_many_strips_is_refused_before_pillow_reads_it(monkeypatch):
    """Pillow would create an object for each strip."""
    monkeypatch.delattr("PIL.TiffImagePlugin.TiffImageFile.__init__")
    data = Tiff(BLACK_IS_ZERO, 8).file()
    offset = find_tag(data, 273)
    many = (
        data[: offset + 4] + (1_000_000).to_bytes(4, "little") + len(data).to_bytes(4, "little") + data[offset + 12 :]
    )
    with pytest.raises(DamagedPhoto, match="tag 273 of the TIFF has 1000000 values; at most"):
        preprocess(many + bytes(4_000_000), 32)


@pytest.mark.parametrize("tag", [257, 258, 277, 278])
def test_tiff_with_too_many_values_in_a_tag_is_damaged(tag):
    """Each tag could have the whole file as its value, and all values would be copied."""
    data = Tiff(BLACK_IS_ZERO, 8).file()
    offset = find_tag(data, tag)
    many = data[: offset + 2] + struct.pack("<HII", 1, 4_000_000, 8) + data[offset + 12 :]
    with pytest.raises(DamagedPhoto, match=f"tag {tag} of the TIFF has 4000000 values; at most 1000 are read"):
        preprocess(many + bytes(4_000_000), 32)


def test_tiff_with_progressive_jpeg_data_is_refused(tmp_path):
    """A progressive marker is refused in a strip, and ignored after the picture."""
    source = tmp_path / "original.tif"
    source.write_bytes(Tiff(RGB, 8).file())
    data = converted(source, ["-c", "jpeg"])
    np.testing.assert_array_equal(np.asarray(decode(data)), np.asarray(decode(data + b"8BIM\xff\xc2")))
    offset = data.index(b"\xff\xc0")
    with pytest.raises(UnsupportedPhoto, match="progressive JPEG data"):
        decode(data[:offset] + b"\xff\xc2" + data[offset + 2 :])


def test_tiff_with_values_outside_the_file_is_damaged():
    """The error names the tag."""
    data = Tiff(PALETTE, 8).file()
    offset = find_tag(data, 320)
    with pytest.raises(DamagedPhoto, match="the value of tag 320 lies outside the TIFF"):
        preprocess(data[: offset + 8] + b"\xff\xff\xff\x7f" + data[offset + 12 :], 32)


def test_tiff_with_a_tile_far_larger_than_the_picture_is_too_large(tmp_path):
    """A tile is decoded as a whole, even if only a part of it is visible."""
    source = tmp_path / "original.tif"
    source.write_bytes(Tiff(BLACK_IS_ZERO, 8).file())
    data = bytearray(converted(source, ["-c", "lzw", "-t", "-w", "16", "-l", "16"]))
    for tag in (322, 323):
        offset = find_tag(data, tag)
        data[offset + 8 : offset + 10] = (8000).to_bytes(2, "little")
    with pytest.raises(PhotoTooLarge, match="tiles of 8000x8000 pixels"):
        preprocess(bytes(data), 32)


@pytest.mark.parametrize("options", [["-c", "zip"], ["-c", "lzw"], ["-c", "jpeg"]], ids=" ".join)
def test_tiff_that_is_damaged_writes_nothing(options, tmp_path, capfd):
    """libtiff's messages would ignore the log level."""
    source = tmp_path / "original.tif"
    source.write_bytes(Tiff(RGB, 8).file())
    data = converted(source, [*options, "-r", "16"])
    for offset in range(8, len(data) - 400, 97):
        with contextlib.suppress(RequestError):
            decode(data[:offset] + bytes(60) + data[offset + 60 :])
    assert ("", "") == tuple(capfd.readouterr())


def test_tiff_with_several_values_in_a_single_value_tag_is_read():
    """The first value counts. A warning from Pillow would fail the test."""
    data = Tiff(RGB, 8).file()
    offset = find_tag(data, 278)
    many = data[: offset + 4] + (9).to_bytes(4, "little") + len(data).to_bytes(4, "little") + data[offset + 12 :]
    actual = np.asarray(decode(many + HEIGHT.to_bytes(2, "little") * 9), int)
    assert np.abs(as_stored(Tiff(RGB, 8)) - actual).mean() <= LIMIT


def test_tiff_metadata_never_causes_an_error():
    """Large private tags are ignored."""
    data = saved(photo(), "TIFF", tiffinfo={274: 6, 270: "x" * 100_000, 33432: "y" * 1000})
    assert (WIDTH, HEIGHT) == (preprocess(data, 32).width, preprocess(data, 32).height)
    np.testing.assert_array_equal(np.asarray(decode(data)), np.asarray(photo().transpose(Image.Transpose.ROTATE_270)))
