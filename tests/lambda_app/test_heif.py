"""Test HEIC and AVIF files, which a child process decodes."""

import shutil
import struct
import subprocess

import numpy as np
import pytest
from PIL import Image

from lambda_app.decoding import heif
from lambda_app.errors import DamagedPhoto, Overloaded, UnsupportedPhoto
from lambda_app.preprocess import decode, preprocess, read_header
from tests.support.drawing import encode_image
from tests.support.photo_files import MAX_DIFFERENCE, avifs, difference, photo

pytestmark = pytest.mark.process


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


@pytest.mark.slow
def test_heic_is_decoded_as_the_picture(tmp_path):
    """Each variant of the encoder gives the picture, composited over white."""
    for name, data in heics(tmp_path):
        mode = {"gray": "L", "alpha": "RGBA"}.get(name, "RGB")
        expected = decode(encode_image(photo(mode), "PNG"))
        assert "HEIC" == read_header(data).format
        assert difference(expected, decode(data)) <= MAX_DIFFERENCE, name


@pytest.mark.parametrize("turns", range(4))
def test_heic_is_rotated_by_irot(turns, tmp_path):
    """`irot` counts quarter turns counterclockwise (ISO/IEC 23008-12, section 6.5.10)."""
    data = dict(heics(tmp_path))["plain"]
    expected = np.rot90(np.asarray(decode(data), int), turns)
    assert np.abs(expected - np.asarray(decode(with_rotation(data, turns)), int)).mean() <= MAX_DIFFERENCE


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
def test_avif_that_is_cut_is_the_clients_error(name):
    """An AVIF that is cut raises `DamagedPhoto` or `UnsupportedPhoto`."""
    data = dict(avifs())[name]
    for length in range(20, len(data) - 1, len(data) // 5):
        with pytest.raises((DamagedPhoto, UnsupportedPhoto)):
            preprocess(data[:length], 32)


@pytest.mark.slow
def test_avif_that_states_a_smaller_size_than_its_frames_is_stopped_by_the_kernel():
    """The child process may allocate only what the stated size needs, not the 96 MB of the frame."""
    data = bytearray(encode_image(Image.new("RGB", (8000, 8000)), "AVIF", quality=1, speed=10))
    offset = data.index(b"ispe") + 8
    data[offset : offset + 8] = struct.pack(">II", 16, 16)
    with pytest.raises(DamagedPhoto, match="the AVIF cannot be decoded"):
        preprocess(bytes(data), 32)


def test_heif_decoding_times_out(monkeypatch):
    """A child process that exceeds `CHILD_WAIT_S` raises `Overloaded`."""
    monkeypatch.setattr(heif, "CHILD_WAIT_S", 0)
    with pytest.raises(Overloaded, match="decoding the AVIF did not finish within 0 s"):
        preprocess(dict(avifs())["RGB 4:2:0"], 32)
