"""Labelled photos: a folder, or a .zip, with one folder a class at any depth. Hidden files and others are left out."""

import hashlib
import mimetypes
import zipfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath


class PhotosError(Exception):
    """There are no photos to send; the message names what was looked at."""


@dataclass(frozen=True)
class Photo:
    name: str  # from the top of the folder or archive, with `/`
    label: str  # the folder that it lies in, in lower case, as training has it
    media_type: str
    read: Callable[[], bytes]


def find(source: Path) -> list[Photo]:
    """Classes mixed, as traffic comes, and in the same order every time. Raises PhotosError."""
    if source.is_dir():
        files = {path.relative_to(source).as_posix(): path.read_bytes for path in source.rglob("*") if path.is_file()}
    elif zipfile.is_zipfile(source):
        archive = zipfile.ZipFile(source)  # open for as long as its photos
        files = {name: partial(archive.read, name) for name in archive.namelist()}
    else:
        raise PhotosError(f"{source}: expected a folder or a .zip of photos, one folder a class")
    if strange := [name for name in files if not name.isprintable()]:
        raise PhotosError(f"{source}: {strange[0]!r}, expected names of printable UTF-8")
    photos = [_photo(name, kind, read) for name, read in files.items() if (kind := _media_type(name))]
    if not photos:
        raise PhotosError(f"{source}: no photo in it, expected one folder a class")
    return sorted(photos, key=lambda photo: hashlib.sha256(photo.name.encode()).digest())


def check_labels(photos: Iterable[Photo], class_names: list[str]) -> None:
    """Raises PhotosError where a folder is named as no class of the model."""
    strangers = {photo.label: photo.name for photo in photos if photo.label not in class_names}
    if strangers:
        label, name = min(strangers.items())
        raise PhotosError(f"{name}: label {label!r}, expected a folder named as one of {', '.join(class_names)}")


def _photo(name: str, media_type: str, read: Callable[[], bytes]) -> Photo:
    return Photo(name, PurePosixPath(name).parent.name.lower(), media_type, read)


def _media_type(name: str) -> str | None:
    """image/*, or none for what is hidden or no image by its name."""
    if any(part.startswith((".", "__MACOSX")) for part in PurePosixPath(name).parts):
        return None
    # strict=False: Python 3.11 and 3.12 have WebP among the types that are not registered.
    media_type = mimetypes.guess_type(name, strict=False)[0] or ""
    return media_type if media_type.startswith("image/") else None
