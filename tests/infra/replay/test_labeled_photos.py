"""Test finding labeled photos in a folder or an archive."""

import zipfile
from pathlib import Path

import pytest

from infra.replay import __main__ as replay
from infra.replay.labeled_photos import find_photos
from tests.infra.replay.replay_commands import write_photo
from tests.support.commands import run_refused


def test_archive_equals_its_folder(photos: Path, tmp_path: Path) -> None:
    """A folder and an archive of it yield the same photos in the same order, with mixed classes."""
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        for path in photos.rglob("*"):
            archive.write(path, path.relative_to(photos))
    unpacked, packed = (
        [(p.name, p.label, p.read()) for p in find_photos(path)] for path in (photos, tmp_path / "photos.zip")
    )
    assert unpacked == packed
    assert sorted(unpacked) != unpacked


def test_other_files_are_skipped(photos: Path) -> None:
    """Hidden files, archiver metadata and files without an image extension are skipped."""
    expected = {photo.name for photo in find_photos(photos)}
    for name in (".hidden/1.jpg", "cat/.1.jpg", "__MACOSX/cat/1.jpg", "cat/Thumbs.db", "cat/notes.txt"):
        write_photo(photos / name, b"no photo")
    assert expected == {photo.name for photo in find_photos(photos)}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("nowhere", "expected a folder or a .zip of photos with one folder per class"),
        ("empty", "found no photo, expected one folder per class"),
        ("photos/Cat/1.jpg", "expected a folder or a .zip of photos with one folder per class"),
        ("strange", "'cat/\\n.jpg', expected printable UTF-8 file names"),
    ],
)
def test_missing_photos_are_reported(url: str, photos: Path, tmp_path: Path, capsys, name: str, expected: str) -> None:
    """The error names the folder, archive or file."""
    (tmp_path / "empty").mkdir()
    write_photo(tmp_path / "strange/cat/\n.jpg", b"")
    arguments = [url, str(tmp_path / name), "--output", str(tmp_path / "replay.jsonl")]
    message = run_refused(replay.main, arguments, capsys)
    assert message.endswith(f"error: {tmp_path / name}: {expected}")
