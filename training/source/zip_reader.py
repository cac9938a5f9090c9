"""Read a .zip archive without unpacking it."""

import stat
import zipfile
from pathlib import Path
from typing import IO

from training.source.source_reader import PerProcess, SourceError


class ZipReader:
    def __init__(self, path: Path, name: str) -> None:
        self.name = name  # for errors
        self.archive = PerProcess(lambda: zipfile.ZipFile(path))

    def names(self) -> list[str]:
        for info in self.archive.get().infolist():
            if stat.S_ISLNK(info.external_attr >> 16):
                raise SourceError(f"{self.name} holds {info.filename!r}, a symbolic link; refusing the archive")
        return self.archive.get().namelist()

    def holds(self, name: str) -> bool:
        return name in self.archive.get().NameToInfo

    def size(self, name: str) -> int:
        return self.archive.get().getinfo(name).file_size

    def open(self, name: str) -> IO[bytes]:
        return self.archive.get().open(name)
