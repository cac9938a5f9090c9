"""Tests of photos that cannot be read from an archive."""

import asyncio
import zipfile
from pathlib import Path

import pytest

from infra.emulator.event import HttpRequest
from infra.emulator.response import HttpResponse
from infra.replay.journal import Answer
from infra.replay.labeled_photos import find_photos
from infra.replay.sender import Pace, Replay

NAME = "cat/1.jpg"


def damage_stream(archive: bytearray) -> None:
    """Make the first block of the compressed data one of a type that does not exist."""
    archive[archive.index(NAME.encode()) + len(NAME)] = 0xFF


def encrypt_member(archive: bytearray) -> None:
    """Set the flag of an encrypted member in the central directory."""
    archive[archive.index(b"PK\x01\x02") + 8] |= 1


@pytest.mark.parametrize("change", [damage_stream, encrypt_member])
def test_unreadable_members_are_journaled(change, tmp_path: Path) -> None:
    """The replay records the error and continues, without sending a request for the photo."""
    path = tmp_path / "photos.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(NAME, bytes(1000))
    data = bytearray(path.read_bytes())
    change(data)
    path.write_bytes(data)
    answers: list[Answer] = []

    def ask(_: HttpRequest) -> HttpResponse:
        raise AssertionError("a photo without bytes was sent")

    asyncio.run(Replay(ask, Pace(), answers.append).send(find_photos(path)))
    assert [(NAME, "unreadable_file")] == [(answer.photo, answer.error_code) for answer in answers]
