"""Keep unpacked copies of archives that allow no random access, on disk, so that memory stays bounded.

The copies are in ~/.cache/pet-classifier (or XDG_CACHE_HOME); all processes share them, and they may be deleted.
"""

import hashlib
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from training.source.source_reader import SourceError

CHUNK = 1 << 20
MAX_RATIO = 200  # of unpacked to packed bytes; photos reach 50, and a decompression bomb 1,000
FREE = 100 << 20  # bytes that are always accepted


@dataclass
class Budget:
    """Limit the bytes to which all archives inside an archive of `packed` bytes unpack together."""

    packed: int
    unpacked: int = 0

    def spend(self, size: int, name: str) -> None:
        self.unpacked += size
        check_ratio(self.unpacked, self.packed, name)


def unpack(path: Path, name: str, write: Callable[[Path], None]) -> Path:
    """Return the copy of `name` in the archive `path`; call `write` with a path to create it."""
    status = path.stat()
    identity = f"{path.resolve()}\0{name}\0{status.st_mtime_ns}\0{status.st_size}"
    folder = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "pet-classifier"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    copy = folder / hashlib.sha256(identity.encode()).hexdigest()[:32]
    if not copy.exists():
        with tempfile.TemporaryDirectory(dir=folder) as temporary:
            part = Path(temporary) / "part"
            write(part)
            part.replace(copy)
    return copy


def copy_stream(source: IO[bytes], target: Path, packed: int, name: str) -> None:
    """Copy a stream to a file. Raise `SourceError` for a decompression bomb: far more than its `packed` bytes."""
    written = 0
    with target.open("wb") as file:
        while chunk := source.read(CHUNK):
            written += len(chunk)
            check_ratio(written, packed, name)
            file.write(chunk)


def check_ratio(unpacked: int, packed: int, name: str) -> None:
    if unpacked > FREE and unpacked > MAX_RATIO * packed:
        raise SourceError(
            f"{name} has {packed:,} bytes and unpacks to {unpacked:,} or more; refusing a decompression bomb "
            f"(expected at most {MAX_RATIO} times)"
        )
