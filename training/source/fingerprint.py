"""Hash what decides the result of a list of sources: names relative to each source, sizes, and parts of the contents.

The location and the times of a source do not count, so a copied folder is the same source. Reading all photos
completely would double the reads of a training run. Therefore, only two windows of a photo or zip archive are read: the
middle and the end. Compressed photos differ there after every edit, and zip stores its checksums at the end. A replaced
photo goes unnoticed if it has the same size and the same bytes in both windows. Tables, `.tar` and Parquet files are
read completely: an edited label often has the same length, and their ends do not depend on it.
"""

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from training.source.label_table import MAX_TABLE, TABLES

WINDOW = 4096  # bytes, at least
PIECE = 1 << 20  # bytes
SHARE = 64  # a window is this part of a larger file: the directory of a zip archive is smaller
TEXTS = {*TABLES, ".txt"}
ARCHIVES = {".tar", ".tgz", ".gz", ".bz2", ".xz", ".parquet"}


def fingerprint(sources: Iterable[Path]) -> str:
    """Return a hash that changes if a file is added, removed, renamed or edited."""
    found = hashlib.sha256()
    for source in sources:
        files = sorted(f for f in source.rglob("*") if f.is_file()) if source.is_dir() else [source]
        found.update(f"{source.name}\0{len(files)}\n".encode())
        for file in files:
            name = file.relative_to(source).as_posix()
            found.update(f"{name}\0{file.stat().st_size}\n".encode("utf-8", "surrogateescape"))
            for part in read_parts(file):
                found.update(part)
    return found.hexdigest()


def read_parts(file: Path) -> Iterator[bytes]:
    """Yield the bytes to hash, in pieces: the whole file, or its middle and its end.

    Yield nothing more if the file cannot be read.
    """
    size, suffix = file.stat().st_size, file.suffix.lower()
    window = max(WINDOW, size // SHARE)
    try:
        with file.open("rb") as stream:
            if size <= 2 * window or suffix in ARCHIVES or (suffix in TEXTS and size <= MAX_TABLE):
                while part := stream.read(PIECE):
                    yield part
                return
            for start in (size // 2 - window // 2, size - window):
                stream.seek(start)
                yield stream.read(window)
    except OSError:  # `prepare` sets the file aside
        return
