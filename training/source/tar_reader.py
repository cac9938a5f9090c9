"""Read an uncompressed .tar archive without unpacking it."""

import tarfile
from functools import partial
from pathlib import Path
from typing import IO

from training.source.source_reader import PerProcess, SourceError


class TarReader:
    def __init__(self, path: Path, name: str) -> None:
        self.name = name  # for errors
        self.archive = PerProcess(partial(_open, path))

    def names(self) -> list[str]:
        """Return all files, and all folders with a trailing `/`. Raise `SourceError` for a link or a device."""
        _, members = self.archive.get()
        for name, member in members.items():
            if not (member.isreg() or member.isdir()):
                kind = "a link" if member.issym() or member.islnk() else "neither a file nor a folder"
                raise SourceError(f"{self.name} holds {name!r}, {kind}; refusing the archive")
        return [f"{name}/" if member.isdir() else name for name, member in members.items()]

    def holds(self, name: str) -> bool:
        return name in self.archive.get()[1]

    def size(self, name: str) -> int:
        return self.archive.get()[1][name].size

    def open(self, name: str) -> IO[bytes]:
        archive, members = self.archive.get()
        file = archive.extractfile(members[name])
        if file is None:
            raise OSError("not a regular file")
        return file


class ClosingTarFile(tarfile.TarFile):
    """A .tar archive that closes its file when it is no longer used, as `ZipFile` does."""

    def __del__(self) -> None:
        self.close()


def _open(path: Path) -> tuple[tarfile.TarFile, dict[str, tarfile.TarInfo]]:
    """Return the archive and its members by name, without the leading `./` that `tar cf x.tar .` writes."""
    archive = ClosingTarFile.open(path, "r:")
    members = {member.name.removeprefix("./"): member for member in archive.getmembers()}
    return archive, {name: member for name, member in members.items() if name not in {"", "."}}
