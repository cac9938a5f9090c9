"""Draw the files of a data set, prepare it as `make train` does, and count the rows of its manifest."""

import io
import re
import tarfile
from collections import Counter

from tests.support.drawing import draw, encode_image
from tests.training.workspace import rows_by_id
from training import prepare
from training.fetch import place_photos


def pictures(*names, start=0):
    """Return a drawn photo for each file name; a name that contains `dog` or `pug` shows a dog, any other a cat."""
    kinds = ["dog" if re.search("dog|pug|beagle", name.lower()) else "cat" for name in names]
    return {
        name: encode_image(draw(kind, start + i, 32)) for i, (name, kind) in enumerate(zip(names, kinds, strict=True))
    }


def numbered(*patterns, count=8):
    return pictures(*(pattern.format(i) for pattern in patterns for i in range(count)))


def packed(files, mode="w"):
    """Return a .tar archive."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def write_files(folder, files):
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def run(data="", classes="", split=""):
    """Prepare a source as `make train` does; return its manifest by ID."""
    place_photos(str(data), classes, split)
    prepare.main()
    return rows_by_id()


def classes(manifest):
    return Counter(row["label"] for row in manifest.values() if row["split"])


def reasons(manifest):
    return Counter(row["reason"].split(":")[0] for row in manifest.values() if row["reason"])
