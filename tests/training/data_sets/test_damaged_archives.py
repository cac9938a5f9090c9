"""Test damaged files in archives: each is set aside or ignored, and the others are read."""

import io
import zipfile

import pytest

from tests.training.data_sets.drawn_sources import numbered, pictures
from training.prepare import inspect_photo
from training.source import Source


def write_damaged(path, files, damaged, method):
    """Write an archive, and invert 16 compressed bytes of one of its files."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
        start = archive.getinfo(damaged).header_offset + 30 + len(damaged) + 4  # after the header of LZMA
    content = bytearray(buffer.getvalue())
    content[start : start + 16] = bytes(byte ^ 0xFF for byte in content[start : start + 16])
    path.write_bytes(content)
    return Source(path)


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_damaged_photo_is_set_aside(tmp_path, method):
    """A photo that cannot be unpacked is unreadable, with every compression."""
    source = write_damaged(tmp_path / "pets.zip", pictures("cat/1.jpg"), "cat/1.jpg", method)
    assert inspect_photo(source, "cat/1.jpg", "cat").reason.startswith("unreadable: ")


@pytest.mark.parametrize("table", ["labels.csv", "annotations/list.txt"])
def test_damaged_table_labels_no_photo(tmp_path, table):
    """If a list of labels cannot be unpacked, the folders give the classes."""
    files = numbered("cat/{}.jpg", "dog/{}.jpg") | {table: b"id,label\n1,a\n2,b\n" * 20}
    source = write_damaged(tmp_path / "pets.zip", files, table, zipfile.ZIP_DEFLATED)
    assert {"cat", "dog"} == set(source.layout({}).labels.values())
