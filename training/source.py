"""Read an archive or a folder of photos in place, and detect its layout."""

import hashlib
import os
import re
import stat
import unicodedata
import zipfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

PHOTOS = Path("data/raw/photos")  # a link that `training.fetch` creates, like those in the next two folders
EXTRA = Path("data/raw/extra")  # further sets of the classes, for evaluation only
OUTLIERS = Path("data/raw/outliers")  # sets that show none of the classes
SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".heic", ".heif", ".avif"}
SPLIT_FOLDERS = {"train", "training", "val", "valid", "validation", "test"}
KAGGLE = re.compile(r"(?P<label>[^./]+)\.\d+\.\w+")  # cat.0.jpg


class SourceError(SystemExit):
    """Report that the photos cannot be used; the message names the archive, file or class."""


class Source:
    """Access files by name, relative to the root and with `/`. Each process opens the archive itself, on first read."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._zip: tuple[int, zipfile.ZipFile] | None = None
        if not path.exists():
            raise SourceError(f"{path} does not exist; expected a .zip archive or a folder of photos")
        if not path.is_dir() and not zipfile.is_zipfile(path):
            raise SourceError(f"{path} is neither a folder nor a .zip archive")

    def names(self) -> list[str]:
        """Return all files, and all folders with a trailing `/`, sorted. Raise `SourceError` for an unsafe name."""
        names = sorted(self._folder_names() if self.path.is_dir() else self._zip_names())
        for name in names:
            if name.startswith("/") or re.match(r"[A-Za-z]:[/\\]", name) or ".." in re.split(r"[/\\]", name):
                raise SourceError(f"{self.path} holds {name!r}, a path that leaves its folder; refusing the archive")
            if "\\" in name or not _is_printable(name):
                raise SourceError(f"{self.path} holds {name!r}; expected a printable name with `/` between folders")
        return names

    def read(self, name: str) -> bytes:
        if self.path.is_dir():
            return (self.path / name).read_bytes()
        return self._archive().read(name)

    def _folder_names(self) -> list[str]:
        found = []
        for folder, folders, files in os.walk(self.path):
            relative = Path(folder).relative_to(self.path)
            found += [(relative / name).as_posix() for name in files] + [
                f"{(relative / f).as_posix()}/" for f in folders
            ]
        return found

    def _zip_names(self) -> list[str]:
        for info in self._archive().infolist():
            if stat.S_ISLNK(info.external_attr >> 16):
                raise SourceError(f"{self.path} holds {info.filename!r}, a symbolic link; refusing the archive")
        return self._archive().namelist()

    def _archive(self) -> zipfile.ZipFile:
        # A forked worker would share the file offset of its parent, so each process opens the archive itself.
        if self._zip is None or self._zip[0] != os.getpid():
            self._zip = (os.getpid(), zipfile.ZipFile(self.path))
        return self._zip[1]

    def __getstate__(self) -> dict[str, object]:
        return {"path": self.path, "_zip": None}


@dataclass(frozen=True)
class Layout:
    """The label of each file."""

    kind: str  # "class folders" or "kaggle"
    labels: dict[str, str]  # file name to label, lower case
    unlabeled: dict[str, str]  # file name to the reason why it has no label
    empty_folders: tuple[str, ...]  # siblings of the class folders


def detect_layout(names: list[str]) -> Layout:
    """Detect the layout: `Cat/1.jpg`, at any depth, is labeled by its folder, `train/cat.1.jpg` by its name.

    Raise `SourceError` if photos are in a folder and in its subfolders.
    """
    files = {name: PurePosixPath(name) for name in names if not name.endswith("/")}
    photos = [f for f in files.values() if f.suffix.lower() in SUFFIXES and not _is_hidden(f)]
    if _has_kaggle_names(photos):
        folders = {f.parent for f in photos if KAGGLE.fullmatch(f.name)}
        found = {n: KAGGLE.fullmatch(f.name) for n, f in files.items() if f.parent in folders and not _is_hidden(f)}
        labels = {name: match["label"].lower() for name, match in found.items() if match}
        return Layout("kaggle", labels, {name: "not named label.number" for name in files if name not in labels}, ())
    folders = {f.parent for f in photos if f.parent.name}
    _check_flat(folders)
    labels = {n: f.parent.name.lower() for n, f in files.items() if f.parent in folders and not _is_hidden(f)}
    outside = {
        n: "hidden file" if _is_hidden(f) else "outside the class folders" for n, f in files.items() if n not in labels
    }
    return Layout("class folders", labels, outside, _empty_folders(names, folders))


def _has_kaggle_names(photos: list[PurePosixPath]) -> bool:
    """Return whether most names are `label.number`, with all labels in one folder, or in one folder per split."""
    labels: dict[PurePosixPath, set[str]] = {}
    matches = [(photo, match) for photo in photos if (match := KAGGLE.fullmatch(photo.name))]
    for photo, match in matches:
        labels.setdefault(photo.parent, set()).add(match["label"].lower())
    mixed = all(len(names) > 1 for names in labels.values())
    by_split = len(labels) == 1 or {folder.name.lower() for folder in labels} <= SPLIT_FOLDERS
    return mixed and by_split and len(matches) * 2 > len(photos)


def _check_flat(folders: set[PurePosixPath]) -> None:
    for folder in sorted(folders):
        if outer := folders & set(folder.parents):
            raise SourceError(
                f"photos are in {str(min(outer))!r} and in its subfolder {str(folder)!r}; expected one of the two"
            )


def _is_printable(name: str) -> bool:
    """Return whether a name has no control characters and no surrogates, which stand for bytes that are not UTF-8."""
    return not any(unicodedata.category(character) in {"Cc", "Cs"} for character in name)


def _is_hidden(file: PurePosixPath) -> bool:
    return any(part.startswith(".") or part == "__MACOSX" for part in file.parts)


def _empty_folders(names: list[str], folders: set[PurePosixPath]) -> tuple[str, ...]:
    beside = {folder.parent for folder in folders}
    listed = [PurePosixPath(n) for n in names if n.endswith("/")]
    empty = (
        d for d in listed if d.parent in beside and not _is_hidden(d) and not any(f.is_relative_to(d) for f in folders)
    )
    return tuple(str(d) for d in empty)


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file of any size, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
