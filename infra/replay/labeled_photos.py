"""Find labeled photos in a folder or a .zip file with one folder per class, at any depth."""

import hashlib
import zipfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath

from infra.emulator.event import content_type


class PhotosError(Exception):
    """The photos cannot be sent. The message names the folder, archive or file."""


@dataclass(frozen=True)
class Photo:
    name: str  # path relative to the folder or archive, with `/`
    label: str  # name of its folder in lower case, as in training
    media_type: str
    read: Callable[[], bytes]


def find_photos(source: Path) -> list[Photo]:
    """Return the photos of a folder or .zip file, with classes mixed, in an order that depends on their names alone.

    Skip hidden files and files without an image extension. Raise `PhotosError` if there is no photo.
    """
    if source.is_dir():
        files = {path.relative_to(source).as_posix(): path.read_bytes for path in source.rglob("*") if path.is_file()}
    elif zipfile.is_zipfile(source):
        archive = zipfile.ZipFile(source)  # stays open for `Photo.read`
        files = {name: partial(archive.read, name) for name in archive.namelist()}
    else:
        raise PhotosError(f"{source}: expected a folder or a .zip of photos with one folder per class")
    if unprintable := [name for name in files if not name.isprintable()]:
        raise PhotosError(f"{source}: {unprintable[0]!r}, expected printable UTF-8 file names")
    photos = [
        Photo(name, PurePosixPath(name).parent.name.lower(), media_type, read)
        for name, read in files.items()
        if (media_type := _image_type(name))
    ]
    if not photos:
        raise PhotosError(f"{source}: found no photo, expected one folder per class")
    return sorted(photos, key=lambda photo: hashlib.sha256(photo.name.encode()).digest())


def check_labels(photos: Iterable[Photo], class_names: list[str]) -> None:
    """Raise `PhotosError` if the folder of a photo is not named like a class of the model."""
    invalid = {photo.label: photo.name for photo in photos if photo.label not in class_names}
    if invalid:
        label, name = min(invalid.items())
        raise PhotosError(f"{name}: label {label!r}, expected the folder name to be one of {', '.join(class_names)}")


def _image_type(name: str) -> str | None:
    """Return the media type `image/*` for a file name, or None if the file is hidden or not an image."""
    if any(part.startswith((".", "__MACOSX")) for part in PurePosixPath(name).parts):
        return None
    media_type = content_type(PurePosixPath(name))
    return media_type if media_type.startswith("image/") else None
