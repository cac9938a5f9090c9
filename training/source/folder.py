"""Read a folder of photos."""

import os
import stat
from pathlib import Path, PurePosixPath
from typing import IO

from training.source.source_reader import SourceError, is_hidden


class FolderReader:
    def __init__(self, path: Path, name: str) -> None:
        self.path, self.name = path, name  # the name is for errors

    def names(self) -> list[str]:
        """Return all files, and all folders with a trailing `/`.

        Raise `SourceError` for a folder that cannot be listed, and for a link to a folder that is not hidden.
        """
        found = []
        for folder, folders, files in os.walk(self.path, onerror=self._refuse):
            relative = Path(folder).relative_to(self.path)
            found += [(relative / name).as_posix() for name in files]
            for name in folders:
                self._check_link(relative / name)
                found.append(f"{(relative / name).as_posix()}/")
        return found

    def holds(self, name: str) -> bool:
        return (self.path / name).is_file()

    def size(self, name: str) -> int:
        status = (self.path / name).stat()
        if not stat.S_ISREG(status.st_mode):
            raise OSError("not a regular file")
        return status.st_size

    def open(self, name: str) -> IO[bytes]:
        return (self.path / name).open("rb")

    def _refuse(self, error: OSError) -> None:
        folder = Path(self.name) / Path(error.filename).relative_to(self.path)
        raise SourceError(
            f"{folder}: the folder cannot be listed ({error.strerror}); give yourself permission to read it"
        )

    def _check_link(self, name: Path) -> None:
        path = self.path / name
        if path.is_symlink() and not is_hidden(PurePosixPath(name)):
            raise SourceError(
                f"{Path(self.name) / name} is a link to the folder {path.readlink()}; links to folders are not "
                "followed (DVC would not notice changes there). Name the folder itself in DATA=, or copy it"
            )
