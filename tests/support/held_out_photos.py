"""Read real photos that the training did not use."""

from hashlib import sha256
from itertools import islice
from pathlib import Path
from zipfile import ZipFile

from training import config
from training.split import split_by_hash


def read_held_out(shared: Path, split: str, count: int) -> list[tuple[str, bytes]]:
    """Return the labels and the files of the first `count` photos of a split.

    The order is pseudorandom, because the archive has all square photos at its end.
    """
    share = config.load(config.Prepare).train_share
    with ZipFile(shared / "data/dogs-vs-cats.zip") as archive:
        names = sorted(archive.namelist(), key=lambda name: sha256(name.encode()).digest())
        photos = ((Path(name).parent.name.lower(), archive.read(name)) for name in names if name.endswith(".jpg"))
        held_out = (p for p in photos if p[1] and split_by_hash(sha256(p[1]).hexdigest(), share) == split)
        return list(islice(held_out, count))
