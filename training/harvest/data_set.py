"""Define the folder of accepted contributions, and link its held-back tenth for the release stage."""

from pathlib import Path, PurePosixPath

from training.source import CONTRIBUTED

CONTRIBUTIONS, ACCEPTED_FOLDER = CONTRIBUTED.parent, CONTRIBUTED.name
HELD_BACK_FOLDER = "held-back"  # has a tenth of the contributions, by hash, on which no model is ever trained
CORRECTED, CONFIRMED = "corrected", "confirmed"  # its folders
HELD_BACK = Path("data/raw/held-back")  # where the pipeline reads them: a link, or an empty folder


def read_folder_labels(folder: Path) -> dict[str, str]:
    """Return the labels of the files `LABEL/SHA256.jpg` at any depth of a folder, by path; empty without a folder."""
    paths = (path.relative_to(folder).as_posix() for path in sorted(folder.rglob("*.jpg")))
    return {path: PurePosixPath(path).parent.name for path in paths}


def link_held_back(*, use: bool) -> None:
    """Link the held-back contributions, or create an empty folder, for example to train on other classes."""
    if HELD_BACK.is_symlink():
        HELD_BACK.unlink()
    elif HELD_BACK.is_dir():
        HELD_BACK.rmdir()  # raises OSError if a user put files there
    HELD_BACK.parent.mkdir(parents=True, exist_ok=True)
    source = CONTRIBUTIONS / HELD_BACK_FOLDER
    if use and source.is_dir():
        HELD_BACK.symlink_to(source.resolve())
    else:
        HELD_BACK.mkdir()
