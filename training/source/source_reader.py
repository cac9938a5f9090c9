"""Define what a reader of a folder or an archive provides, and check the names that it returns."""

import hashlib
import lzma
import os
import re
import tarfile
import unicodedata
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import IO, Generic, Protocol, TypeVar

from training.interruption import UserError

PHOTOS = Path("data/raw/photos")  # a link or a list of sources that `training.fetch` writes
EXTRA = Path("data/raw/extra")  # further sets of the classes, for evaluation only
OUTLIERS = Path("data/raw/outliers")  # sets that show none of the classes
PRETRAINED = Path("data/raw/weights")  # ARCHITECTURE.pth in this folder takes precedence over timm's download
SUFFIXES = {
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".gif", ".bmp"),
    *(".tif", ".tiff", ".heic", ".heif", ".avif"),
}
ARCHIVE_SUFFIX = r"\.(zip|tar|tgz|tar\.(gz|bz2|xz)|parquet)"
ARCHIVE = re.compile(f"{ARCHIVE_SUFFIX}$", re.IGNORECASE)
MAX_FILE = 256 << 20  # bytes of one photo; a larger file is not read into memory
# A folder raises OSError; an archive also the errors of a wrong checksum, a broken stream, a password, or a compression
# method that zipfile does not support.
UNREADABLE = (OSError, EOFError, RuntimeError, zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError)
Opened = TypeVar("Opened")


class SourceError(UserError):
    """Report that the photos cannot be used; the message names the archive, file or class."""


class Reader(Protocol):
    """Access the files of a folder or an archive by name, relative to its root and with `/` between folders."""

    def names(self) -> list[str]:
        """Return all files, and all folders with a trailing `/`."""
        ...

    def holds(self, name: str) -> bool:
        """Return whether there is a file of this name."""
        ...

    def size(self, name: str) -> int:
        """Return the size of a file in bytes, uncompressed."""
        ...

    def open(self, name: str) -> IO[bytes]:
        """Open a file for reading."""
        ...


class PerProcess(Generic[Opened]):
    """An archive that each process opens itself: a forked worker would share the file offset of its parent."""

    def __init__(self, opener: Callable[[], Opened]) -> None:
        self._opener = opener
        self._held: tuple[int, Opened] | None = None

    def get(self) -> Opened:
        if self._held is None or self._held[0] != os.getpid():
            self._held = (os.getpid(), self._opener())
        return self._held[1]


def check_names(names: list[str], path: Path) -> None:
    """Raise `SourceError` for a name that leaves the folder of the archive or is not printable."""
    for name in names:
        if name.startswith("/") or re.match(r"[A-Za-z]:[/\\]", name) or ".." in re.split(r"[/\\]", name):
            raise SourceError(f"{path} holds {name!r}, a path that leaves its folder; refusing the archive")
        if "\\" in name or not _is_printable(name):
            raise SourceError(f"{path} holds {name!r}; expected a printable name with `/` between folders")


def is_hidden(file: PurePosixPath) -> bool:
    return any(part.startswith(".") or part == "__MACOSX" for part in file.parts)


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file of any size, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _is_printable(name: str) -> bool:
    """Return whether a name has no control characters and no surrogates, which stand for bytes that are not UTF-8."""
    return not any(unicodedata.category(character) in {"Cc", "Cs"} for character in name)
