"""Define the folder of accepted contributions, and link its held-back tenth for the release stage."""

import shutil
from pathlib import Path, PurePosixPath

from training.config import HELD_BACK
from training.interruption import UserError
from training.source import CONTRIBUTED

CONTRIBUTIONS, ACCEPTED_FOLDER = CONTRIBUTED.parent, CONTRIBUTED.name
HELD_BACK_FOLDER = "held-back"  # has a tenth of the contributions, by hash, on which no model is ever trained
CORRECTED, CONFIRMED = "corrected", "confirmed"  # its folders


def read_folder_labels(folder: Path) -> dict[str, str]:
    """Return the labels of the files `LABEL/SHA256.jpg` at any depth of a folder, by path; empty without a folder."""
    paths = (path.relative_to(folder).as_posix() for path in sorted(folder.rglob("*.jpg")))
    return {path: PurePosixPath(path).parent.name for path in paths}


def link_held_back(*, use: bool) -> None:
    """Link the held-back contributions, or create an empty folder, for example to train on other classes.

    Raise `UserError` if there are files in the place of the link.
    """
    if HELD_BACK.is_symlink():
        HELD_BACK.unlink()
    elif HELD_BACK.is_dir():
        if any(HELD_BACK.glob("[!.]*")):  # skips .DS_Store
            raise UserError(f"{HELD_BACK} holds files; expected a link or an empty folder; move them elsewhere")
        shutil.rmtree(HELD_BACK)
    HELD_BACK.parent.mkdir(parents=True, exist_ok=True)
    source = CONTRIBUTIONS / HELD_BACK_FOLDER
    if use and source.is_dir():
        HELD_BACK.symlink_to(source.resolve())
    else:
        HELD_BACK.mkdir()
