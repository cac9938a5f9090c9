"""Read a folder or an archive together with the archives inside it."""

import bz2
import gzip
import lzma
import re
import zipfile
from collections.abc import Callable
from functools import cached_property, partial
from pathlib import Path, PurePosixPath
from typing import Any

from training.source.folder import FolderReader
from training.source.source_reader import (
    ARCHIVE,
    ARCHIVE_SUFFIX,
    MAX_FILE,
    SUFFIXES,
    UNREADABLE,
    Reader,
    SourceError,
    check_names,
    is_hidden,
)
from training.source.tar_reader import TarReader
from training.source.unpacked import Budget, copy_stream, unpack
from training.source.zip_reader import ZipReader

INSIDE = re.compile(f"{ARCHIVE_SUFFIX}(?=/)", re.IGNORECASE)
Opener = Callable[[Path], Any]  # returns a binary stream
MAX_DEPTH = 3  # archives inside each other
COMPRESSED: dict[bytes, Opener] = {
    b"\x1f\x8b": gzip.GzipFile,
    b"BZh": bz2.BZ2File,
    b"\xfd7zXZ": lzma.LZMAFile,
}
EXPECTED = "expected a .zip, .tar, .tar.gz, .tar.bz2, .tar.xz or .parquet archive or a folder of photos"


class ArchiveTree:
    """The files of a folder or an archive; `train.zip/cat/1.jpg` is a file in the archive `train.zip` inside it."""

    def __init__(self, path: Path, name: str = "", depth: int = 0, budget: Budget | None = None) -> None:
        if not path.exists():
            raise SourceError(f"{path} does not exist; {EXPECTED}")
        self.path, self.depth = path, depth
        self.name = name or str(path.readlink() if path.is_symlink() else path)  # for errors
        self.budget = budget or Budget(path.stat().st_size)  # an archive shares it with the archives inside
        self._inner: dict[str, ArchiveTree] = {}

    @cached_property
    def reader(self) -> Reader:
        try:
            return open_reader(self.path, self.name)
        except UNREADABLE as error:
            raise SourceError(f"{self.name} cannot be opened: {error}; unpack it, or name another source") from None

    def names(self) -> list[str]:
        """Return all files, and all folders with a trailing `/`, sorted. Raise `SourceError` for an unsafe name."""
        try:
            own = self.reader.names()
        except UNREADABLE as error:
            raise SourceError(f"{self.name} cannot be listed: {error}") from None
        check_names(own, Path(self.name))
        inner = [name for name in own if ARCHIVE.search(name) and not is_hidden(PurePosixPath(name))]
        found = set(own) - set(inner)
        has_photos = any(PurePosixPath(name).suffix.lower() in SUFFIXES for name in found)
        for name in inner:
            try:
                found.update(f"{name}/{file}" for file in self._open_inner(name).names())
            except SourceError:
                if not (has_photos and isinstance(self.reader, FolderReader)):
                    raise
                found.add(name)  # a damaged download beside the photos: set aside like any other file
        return sorted(found)

    def read(self, name: str) -> bytes:
        """Return the bytes of a file. Raise OSError if it is too large for memory."""
        for match in INSIDE.finditer(name):
            if self.reader.holds(name[: match.end()]):
                return self._open_inner(name[: match.end()]).read(name[match.end() + 1 :])
        if (size := self.reader.size(name)) > MAX_FILE:
            raise OSError(f"the file has {size:,} bytes; at most {MAX_FILE:,} are read")
        with self.reader.open(name) as file:
            return file.read()

    def _open_inner(self, name: str) -> "ArchiveTree":
        if name not in self._inner:
            label = f"{self.name}/{name}"
            if self.depth == MAX_DEPTH:
                raise SourceError(f"{label} is an archive {MAX_DEPTH + 1} levels deep; unpack the outer ones first")
            budget = None if isinstance(self.reader, FolderReader) else self.budget
            self._inner[name] = ArchiveTree(self._file(name, label), label, self.depth + 1, budget)
        return self._inner[name]

    def _file(self, name: str, label: str) -> Path:
        """Return the path of an archive inside this one; copy it to disk unless it is a file in a folder."""
        if isinstance(self.reader, FolderReader):
            return self.path / name

        def write(target: Path) -> None:
            with self.reader.open(name) as stream:
                copy_stream(stream, target, self.path.stat().st_size, label)

        try:
            copy = unpack(self.path, name, write)
        except UNREADABLE as error:
            raise SourceError(f"{label} cannot be read: {error}; unpack {self.name} and name the result") from None
        self.budget.spend(copy.stat().st_size, label)
        return copy


def open_reader(path: Path, name: str) -> Reader:
    """Return the reader for a folder or an archive, by its content. Raise `SourceError` for any other file."""
    if path.is_dir():
        return FolderReader(path, name)
    with path.open("rb") as file:
        start = file.read(262)
    if start.startswith(b"PAR1"):
        from training.source.parquet_reader import write_zip  # noqa: PLC0415  # imports PyArrow, which few sets need

        return ZipReader(unpack(path, "photos", lambda target: write_zip(path, target, name)), name)
    if start[257:262] == b"ustar":
        return TarReader(path, name)
    for signature, opener in COMPRESSED.items():
        if start.startswith(signature):
            return TarReader(unpack(path, "tar", partial(_decompress, opener, path, name)), name)
    if zipfile.is_zipfile(path):
        return ZipReader(path, name)
    raise SourceError(f"{name} is neither a folder nor an archive; {EXPECTED}")


def _decompress(opener: Opener, path: Path, name: str, target: Path) -> None:
    with opener(path) as stream:
        copy_stream(stream, target, path.stat().st_size, name)
