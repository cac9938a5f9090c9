"""The reader of each format, with unusual, damaged and crafted files."""

import shutil
import struct
import subprocess
import sys
import zlib

import numpy as np
import pytest
from PIL import Image

from infra.bench.decoding import png_chunk
from lambda_app.decoding import gif, heif, jpeg
from lambda_app.decoding.color import Colorimetry, build_profile, to_srgb
from lambda_app.decoding.header import read_orientation
from lambda_app.errors import DamagedPhoto, Overloaded, PhotoTooLarge, UnsupportedPhoto
from lambda_app.preprocess import MAX_MEMORY, MAX_SECONDS, decode, preprocess, read_header
from tests.support.photo_files import (
    HEIGHT,
    PROFILES,
    WIDTH,
    avifs,
    exif,
    gifs,
    photo,
    picture,
    saved,
)
from tests.support.photo_files import png as written_png

pytestmark = [pytest.mark.process, pytest.mark.slow]  # HEIC and AVIF are decoded in a child process
LIMIT = 3  # of 255, on average
TAIL = np.random.default_rng(1).bytes(300_000)


def difference(expected: Image.Image, actual: Image.Image) -> float:
    return float(np.abs(np.asarray(expected.convert("RGB"), int) - np.asarray(actual, int)).mean())


def noise(side: int = 128) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 255, (side, side, 3), np.uint8))


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize(
    "tail", [b"", b"\0" * 1000, b"vendor trailer" * 100, TAIL], ids=["no", "zero", "text", "video"]
)
@pytest.mark.parametrize("end", [b"", b"\xff\xd9"], ids=["without", "with"])
def test_jpeg_is_complete_whatever_follows_its_last_scan(progressive, tail, end):
    """A missing end marker or appended data do not damage the picture."""
    plain = saved(photo(), "JPEG", progressive=progressive)
    np.testing.assert_array_equal(np.asarray(decode(plain)), np.asarray(decode(plain[:-2] + end + tail)))


@pytest.mark.parametrize("progressive", [False, True])
def test_jpeg_with_missing_pixels_is_damaged(progressive):
    """The cut may be at any position in its scans."""
    plain = saved(noise(), "JPEG", progressive=progressive)
    start = plain.index(b"\xff\xda") + 20
    for length in [*range(start, len(plain) - 3, (len(plain) - start) // 40), len(plain) - 4]:
        with pytest.raises(DamagedPhoto):
            preprocess(plain[:length], 32)


def test_jpeg_in_an_uncommon_coding_is_refused_by_name():
    """Browsers do not show lossless, hierarchical and 12-bit JPEGs either."""
    plain = saved(photo(), "JPEG")
    frame = plain.index(b"\xff\xc0")
    for changed in (
        plain[: frame + 1] + b"\xc3" + plain[frame + 2 :],
        plain[: frame + 4] + b"\x0c" + plain[frame + 5 :],
    ):
        with pytest.raises(UnsupportedPhoto, match=r"coding process FFC\d, \d+ bits and 3 components"):
            preprocess(changed, 32)


@pytest.mark.parametrize("segment", [b"\xff\xe1\0\x0aExif\0\0II", b"\xff\xe2\0\2", b"\xff\xed\0\4ab"])
def test_jpeg_with_too_many_segments_is_refused_before_pillow_reads_it(segment, monkeypatch):
    """Pillow concatenates their contents in quadratic time."""
    monkeypatch.delattr("PIL.ImageFile.ImageFile.__init__")
    plain = saved(photo(), "JPEG")
    with pytest.raises(DamagedPhoto, match=f"more than {jpeg.MAX_SEGMENTS} segments"):
        preprocess(plain[:2] + segment * 200_000 + plain[2:], 32)


def test_jpeg_with_too_many_scans_is_refused_before_pillow_reads_it(monkeypatch):
    """libjpeg processes all coefficients for each scan, even an empty one."""
    monkeypatch.delattr("PIL.ImageFile.ImageFile.__init__")
    plain = saved(photo(), "JPEG", progressive=True)
    last = plain.rindex(b"\xff\xda")
    with pytest.raises(DamagedPhoto, match=f"more than {jpeg.MAX_SCANS} scans"):
        preprocess(plain[:last] + plain[last:-2] * 100 + plain[-2:], 32)


def test_jpeg_with_many_pixels_and_scans_is_too_large():
    """The estimate of CPU time includes both."""
    plain = saved(photo(), "JPEG", progressive=True)
    frame, last = plain.index(b"\xff\xc2"), plain.rindex(b"\xff\xda")
    large = plain[: frame + 5] + struct.pack(">HH", 5000, 5000) + plain[frame + 9 :]
    last += len(large) - len(plain)
    with pytest.raises(PhotoTooLarge, match=r"takes up to \d+ MB and \d+\.\d s"):
        read_header(large[:last] + large[last:-2] * 50 + large[-2:])


@pytest.mark.parametrize(
    "kind", [b"zTXt", b"iTXt", b"tEXt", b"iCCP", b"pHYs", b"eXIf", b"gAMA", b"cHRM", b"tIME", b"prVt"]
)
@pytest.mark.parametrize("content", [b"", b"\xff" * 7, b"n\0\0" + zlib.compress(bytes(20_000_000))], ids=len)
@pytest.mark.parametrize("is_intact", [True, False], ids=["intact", "broken"])
def test_png_metadata_never_refuses_a_picture(kind, content, is_intact):
    """Metadata may be broken, oversized, have a wrong checksum, or be repeated a thousand times."""
    chunk = png_chunk(kind, content)[: None if is_intact else -4] + (b"" if is_intact else b"\1\2\3\4")
    plain = written_png(2, 8)
    actual = decode(plain[:33] + chunk * (1000 if len(content) < 100 else 1) + plain[33:])
    assert 0 == difference(photo(), actual)


@pytest.mark.parametrize("kind", [b"IHDR", b"PLTE", b"IDAT"])
def test_png_with_a_broken_critical_chunk_is_damaged(kind):
    """The checksum detects one changed bit."""
    data = bytearray(written_png(3, 8, palette=bytes(range(256)) * 3))
    offset = data.index(kind)
    data[offset + 6] ^= 1
    with pytest.raises(DamagedPhoto, match=f"chunk b'{kind.decode()}' has a wrong checksum"):
        preprocess(bytes(data), 32)


def test_png_with_an_unknown_critical_chunk_is_unsupported():
    """By the specification, a decoder cannot interpret such a picture."""
    plain = written_png(2, 8)
    with pytest.raises(UnsupportedPhoto, match="critical chunk b'ABCD'"):
        preprocess(plain[:33] + png_chunk(b"ABCD", b"") + plain[33:], 32)


def test_png_in_many_chunks_is_read():
    """The pixels may be stored in one chunk for each byte, with empty chunks between."""
    plain = written_png(2, 8)
    start = plain.index(b"IDAT") - 4
    length = int.from_bytes(plain[start : start + 4], "big")
    pixels = plain[start + 8 : start + 8 + length]
    chunks = b"".join(png_chunk(b"IDAT", bytes([byte])) + png_chunk(b"IDAT", b"") for byte in pixels)
    assert 0 == difference(photo(), decode(plain[:start] + chunks + png_chunk(b"IEND", b"")))


@pytest.mark.parametrize("color_type", [0, 2])
def test_png_of_16_bits_with_a_transparent_color_is_composited_over_white(color_type):
    """Pillow compares the color with 8-bit samples, so it needs scaling."""
    channels = {0: 1, 2: 3}[color_type]
    corner = (picture()[-1, -1, :channels] * 65535).round().astype(int)
    actual = decode(written_png(color_type, 16, (b"tRNS", struct.pack(f">{channels}H", *corner))))
    assert (255, 255, 255) == actual.getpixel((WIDTH - 1, HEIGHT - 1))
    assert (255, 255, 255) != actual.getpixel((0, 0))


def test_png_without_its_end_chunk_is_complete():
    """No pixel is missing."""
    assert 0 == difference(photo(), decode(written_png(2, 8)[:-12]))


@pytest.mark.parametrize("gamma", [1, 2, 3, 4, 2**31])
def test_png_with_an_invalid_gamma_ignores_it(gamma):
    """The picture is neither refused nor black."""
    assert 0 == difference(photo(), decode(written_png(2, 8, (b"gAMA", struct.pack(">I", gamma)))))


def animated_webp(canvas: tuple[int, int], corner: tuple[int, int], side: int) -> bytes:
    """Return an animation with one lossless, red frame of `side` x `side` pixels, in under 200 bytes."""
    frame = saved(Image.new("RGB", (side, side), "red"), "WEBP", lossless=True)[12:]

    def sized(*numbers: int) -> bytes:
        return b"".join(number.to_bytes(3, "little") for number in numbers)

    frame = sized(corner[0] // 2, corner[1] // 2, side - 1, side - 1, 100) + b"\0" + frame
    chunks = [(b"VP8X", b"\2\0\0\0" + sized(canvas[0] - 1, canvas[1] - 1)), (b"ANIM", bytes(6)), (b"ANMF", frame)]
    body = b"".join(kind + struct.pack("<I", len(content)) + content for kind, content in chunks)
    return b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WEBP" + body


def test_webp_frame_on_its_canvas_is_decoded():
    """The rest of the canvas is white."""
    actual = decode(animated_webp((40, 30), (20, 10), 16))
    assert ((40, 30), (255, 255, 255)) == (actual.size, actual.getpixel((5, 5)))
    assert (255, 0, 0) == actual.getpixel((25, 15))


@pytest.mark.parametrize(("canvas", "corner"), [((1, 1), (0, 0)), ((64, 64), (2, 0)), ((64, 64), (0, 2))])
def test_webp_frame_beyond_its_canvas_is_damaged_before_pillow_reads_it(canvas, corner, monkeypatch):
    """The frame decides the cost of decoding; the canvas may state only 1 x 1 pixel."""
    data = animated_webp(canvas, corner, 64)
    monkeypatch.delattr("PIL.ImageFile.ImageFile.__init__")
    with pytest.raises(DamagedPhoto, match=r"a frame of 64x64 pixels .* does not fit its canvas"):
        preprocess(data, 32)


def test_gif_with_too_many_blocks_is_refused_before_pillow_reads_it(monkeypatch):
    """Pillow concatenates comments in quadratic time."""
    monkeypatch.delattr("PIL.ImageFile.ImageFile.__init__")
    plain = dict(gifs())["plain"]
    start = plain.index(b"," + bytes(4), 13)
    for comment in (b"!\xfe" + b"\1c" * 2_000_000 + b"\0", b"!\xfe\0" * 1_000_000):
        with pytest.raises(DamagedPhoto, match=f"more than {gif.MAX_BLOCKS}"):
            preprocess(plain[:start] + comment + plain[start:], 32)


@pytest.mark.parametrize("name", [name for name in PROFILES if name not in {"broken", "srgb"}])
@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_color_profile_is_converted_to_srgb(name, image_format):
    """The colors change visibly, by the same amount in every format."""
    lossless = {"JPEG": {"quality": 100, "subsampling": 0}, "WEBP": {"lossless": True}}.get(image_format, {})
    expected = to_srgb(photo(), PROFILES[name])
    assert difference(expected, photo()) > LIMIT
    actual = decode(saved(photo(), image_format, icc_profile=PROFILES[name], **lossless))
    assert difference(expected, actual) <= LIMIT


@pytest.mark.parametrize("name", ["broken", "srgb"])
@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
def test_color_profile_without_an_effect_is_ignored(name, mode):
    """A profile has no effect if it is broken, is sRGB, or is for other colors than the photo has."""
    image = photo(mode)
    expected = decode(saved(image, "TIFF"))
    assert 0 == difference(expected, decode(saved(image, "TIFF", icc_profile=PROFILES[name])))


def test_gray_profile_is_converted():
    """A gray photo with a linear curve becomes much brighter."""
    linear = b"".join([PROFILES["linear"][:16], b"GRAY", PROFILES["linear"][20:]]).replace(b"rTRC", b"kTRC")
    half = Image.new("L", (16, 16), 128)
    assert (188, 188, 188) == decode(saved(half, "PNG", icc_profile=linear)).getpixel((8, 8))


@pytest.mark.parametrize(
    "numbers", [((2.2,), (0.3, 0.3) * 3), ((2.2,), (0.64, 0.33, 0.3, 0.6, 0.15, 0.0)), ((2.2,), (9.0,) * 6)]
)
def test_colorimetry_with_impossible_primaries_is_ignored(numbers):
    """Primaries may lie on a line, emit no light, or lie far outside the visible colors."""
    assert build_profile(Colorimetry(*numbers)) is None


@pytest.mark.parametrize("transfer", [16, 18])
def test_hdr_is_refused_by_name(transfer):
    """Viewers do not agree on how to show colors brighter than white."""
    with pytest.raises(UnsupportedPhoto, match=r"HDR \((PQ|HLG)\); expected standard dynamic range"):
        decode(written_png(2, 8, (b"cICP", bytes([9, transfer, 0, 1]))))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("order", ["<", ">"])
def test_exif_orientation_is_read_in_both_byte_orders(order, orientation):
    """The value may be SHORT or LONG, with and without the prefix of JPEG."""
    mark = b"II*\0" if order == "<" else b"MM\0*"
    for kind, value in ((3, struct.pack(order + "HH", orientation, 0)), (4, struct.pack(order + "I", orientation))):
        block = mark + struct.pack(order + "IHHHI", 8, 1, 0x0112, kind, 1) + value
        assert orientation == read_orientation(block) == read_orientation(b"Exif\0\0" + block)


@pytest.mark.parametrize(
    "block", [b"", b"II", b"II*\0\xff\xff\xff\xff" + bytes(9), b"MM\0*\0\0\0\x08\xff\xff", b"garbage" * 9]
)
def test_exif_that_is_broken_means_upright(block):
    """Broken metadata never causes an error."""
    assert 1 == read_orientation(block)


def heics(tmp_path):
    """Yield the name of a variant and the file that libheif's `heif-enc` writes for it."""
    if not shutil.which("heif-enc"):
        pytest.skip("heif-enc is not on PATH")
    for name, mode, options in (
        ("plain", "RGB", []),
        ("gray", "L", []),
        ("alpha", "RGBA", []),
        ("10 bits", "RGB", ["-b", "10"]),
        ("lossless", "RGB", ["-L", "-p", "chroma=444"]),
    ):
        source, target = tmp_path / "source.png", tmp_path / "target.heic"
        photo(mode).save(source)
        subprocess.run(["heif-enc", "-q", "95", *options, "-o", target, source], check=True, capture_output=True)
        yield name, target.read_bytes()


def test_heic_is_decoded_as_the_picture(tmp_path):
    """Each variant of the encoder gives the picture, composited over white."""
    for name, data in heics(tmp_path):
        mode = {"gray": "L", "alpha": "RGBA"}.get(name, "RGB")
        expected = decode(saved(photo(mode), "PNG"))
        assert "HEIC" == read_header(data).format
        assert difference(expected, decode(data)) <= LIMIT, name


@pytest.mark.parametrize("turns", range(4))
def test_heic_is_rotated_by_irot(turns, tmp_path):
    """`irot` counts quarter turns counterclockwise (ISO/IEC 23008-12, section 6.5.10)."""
    data = dict(heics(tmp_path))["plain"]
    expected = np.rot90(np.asarray(decode(data), int), turns)
    assert np.abs(expected - np.asarray(decode(with_rotation(data, turns)), int)).mean() <= LIMIT


def with_rotation(data: bytes, turns: int) -> bytes:
    """Return the file with an `irot` property in place of the `pixi` property that the encoder wrote."""
    offset = data.index(b"pixi") - 4
    size = int.from_bytes(data[offset : offset + 4], "big")
    return data[:offset] + struct.pack(">I4sB", size, b"irot", turns).ljust(size, b"\0") + data[offset + size :]


def test_heif_of_another_codec_is_refused_by_name():
    """The error for a container with neither HEVC nor AV1 names its brand."""
    with pytest.raises(UnsupportedPhoto, match="of brand 'mp42' has no HEVC or AV1 picture"):
        preprocess(struct.pack(">I4s4s4x", 16, b"ftyp", b"mp42") + bytes(100), 32)


def test_heif_with_too_many_boxes_is_damaged():
    """The limit covers all levels, and only boxes on the path to the pictures' properties are opened."""
    empty = struct.pack(">I4s", 8, b"free")

    def box(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I4s", 8 + len(content), kind) + content

    head = struct.pack(">I4s4s4x", 16, b"ftyp", b"heic")
    wide = box(b"meta", bytes(4) + box(b"iprp", b"".join(box(b"ipco", empty * 2000) for _ in range(4))))
    with pytest.raises(DamagedPhoto, match=f"more than {heif.MAX_BOXES} boxes"):
        preprocess(head + wide, 32)
    deep = empty * 100
    for _ in range(3000):
        deep = box(b"iprp", deep)
    with pytest.raises(UnsupportedPhoto, match="has no HEVC or AV1 picture"):
        preprocess(head + deep, 32)


@pytest.mark.parametrize("name", ["RGB 4:2:0", "sequence", "orientation 6"])
def test_avif_cut_or_damaged_is_the_clients_error(name):
    """Wherever it is cut."""
    data = dict(avifs())[name]
    for length in range(20, len(data) - 1, len(data) // 5):
        with pytest.raises((DamagedPhoto, UnsupportedPhoto)):
            preprocess(data[:length], 32)


def test_avif_that_states_a_smaller_size_than_its_frames_is_stopped_by_the_kernel():
    """The child process may allocate only what the stated size needs, not the 96 MB of the frame."""
    data = bytearray(saved(Image.new("RGB", (8000, 8000)), "AVIF", quality=1, speed=10))
    offset = data.index(b"ispe") + 8
    data[offset : offset + 8] = struct.pack(">II", 16, 16)
    with pytest.raises(DamagedPhoto, match="the AVIF cannot be decoded"):
        preprocess(bytes(data), 32)


@pytest.mark.parametrize(
    "module", ["pi_heif", "PIL.AvifImagePlugin", "PIL.TiffImagePlugin", "PIL.ImageCms", "PIL.GifImagePlugin"]
)
def test_rare_decoders_are_not_imported_at_start(module):
    """A cold start imports only the decoder of JPEG."""
    program = f"import sys, lambda_app.preprocess; sys.exit({module!r} in sys.modules)"
    assert 0 == subprocess.run([sys.executable, "-c", program], check=False).returncode


def test_heif_decoding_times_out(monkeypatch):
    """A blocked child process uses no CPU time, so the kernel's limit does not stop it."""
    monkeypatch.setattr(heif, "CHILD_WAIT_S", 0)
    with pytest.raises(Overloaded, match="decoding the AVIF did not finish within 0 s"):
        preprocess(dict(avifs())["RGB 4:2:0"], 32)


def test_every_accepted_header_is_within_the_limits():
    """Every AVIF of tests.support.photo_files is within the limits of memory and CPU time."""
    for name, data in avifs():
        header = read_header(data)
        assert header.memory <= MAX_MEMORY, name
        assert header.seconds <= MAX_SECONDS, name


def test_exif_orientation_and_color_profile_are_both_applied():
    """One JPEG has an orientation and a profile."""
    data = saved(photo(), "JPEG", exif=exif(3), icc_profile=PROFILES["display-p3"], quality=100, subsampling=0)
    expected = to_srgb(photo().transpose(Image.Transpose.ROTATE_180), PROFILES["display-p3"])
    assert difference(expected, decode(data)) <= LIMIT
