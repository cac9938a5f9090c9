"""Read the further sets that `evaluate` and `verify` score.

Sets under data/raw/extra/ show the known classes and come from other sources. Sets under data/raw/outliers/ show none
of the classes.
"""

from pathlib import Path

from training import config
from training.interruption import UserError
from training.photo_dataset import Photos, Preprocessor
from training.prepare import inspect_photos
from training.source import EXTRA, OUTLIERS, Source
from training.split import SPLITS


def read_extra(names: list[str], to_pixels: Preprocessor) -> dict[str, Photos]:
    """Read the further sets that show at least two of the model's classes; ROC-AUC is undefined for one.

    Raise `UserError` if a set has the name of a split.
    """
    for name in SPLITS:  # their metrics would share a name
        if (EXTRA / name).exists():
            raise UserError(f"{EXTRA / name} has the name of a split; rename it")
    found = {path.name: read_folder(path, names, to_pixels) for path in list_sets(EXTRA)}
    for name, photos in found.items():
        if len(set(photos.labels)) < 2:
            print(f"{name}: skipped, it shows fewer than two of the classes {', '.join(names)}")
    return {name: photos for name, photos in found.items() if len(set(photos.labels)) > 1}


def read_outliers(taken: set[str], to_pixels: Preprocessor) -> dict[str, Photos]:
    """Read the sets that show none of the classes, except for those without a readable photo.

    Raise `UserError` if the name of a set is in `taken`: their metrics would share a name.
    """
    found = {path.name: read_unlabeled(path, to_pixels) for path in list_sets(OUTLIERS)}
    for name, photos in found.items():
        if name in taken:
            raise UserError(f"{OUTLIERS / name} has the name of another set that is scored; rename it")
        if not len(photos):
            print(f"{name}: skipped, it has no readable photo")
    return {name: photos for name, photos in found.items() if len(photos)}


def read_folder(path: Path, class_names: list[str], to_pixels: Preprocessor) -> Photos:
    """Return the readable photos of the known classes in an archive or folder of classes. There may be none."""
    source = Source(path)
    rows = inspect_photos(source, source.layout(config.load(config.Prepare).aliases).labels)
    labels = {row.id: row.label for row in rows if not row.reason and row.label in class_names}
    return Photos(source, labels, class_names, to_pixels)


def read_unlabeled(path: Path, to_pixels: Preprocessor) -> Photos:
    """Return every readable photo of an archive or folder, all with the label `outlier`, in any folder."""
    source = Source(path)
    photos = {name: "outlier" for name in source.names() if not name.endswith("/")}
    readable = [row.id for row in inspect_photos(source, photos) if not row.reason]
    return Photos(source, dict.fromkeys(readable, "outlier"), ["outlier"], to_pixels)


def list_sets(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.glob("*")) if not path.name.startswith(".")]  # .DS_Store
