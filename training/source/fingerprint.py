"""Hash what decides the result of a list of sources: names relative to each source, sizes, and parts of the contents.

Neither the place of a source nor times count, so a copied folder is the same source. Reading all photos here would
double the reading of a training. So of a file that is no table, only two windows are read, in its middle and at its
end, where compressed photos differ after every edit, and zip and Parquet have their directories. What is not noticed is
a photo that was replaced by one of the same size and with the same bytes in both windows.
"""

import hashlib
from collections.abc import Iterable
from pathlib import Path

from training.source.label_table import MAX_TABLE, TABLES

WINDOW = 4096  # bytes, at least
SHARE = 64  # a window is this part of a larger file: the directory of a zip archive is smaller
TEXTS = {*TABLES, ".txt"}  # read whole: an edited label often has the same length


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


def read_parts(file: Path) -> list[bytes]:
    """Return a table or a small file whole, and the middle and the end of another file. An unreadable one is empty."""
    size = file.stat().st_size
    window = max(WINDOW, size // SHARE)
    try:
        with file.open("rb") as stream:
            if size <= 2 * window or (file.suffix.lower() in TEXTS and size <= MAX_TABLE):
                return [stream.read()]
            parts = []
            for start in (size // 2 - window // 2, size - window):
                stream.seek(start)
                parts.append(stream.read(window))
            return parts
    except OSError:  # `prepare` sets the file aside
        return []
