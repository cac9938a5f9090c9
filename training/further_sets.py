"""Read the further sets that `evaluate` and `verify` score.

Sets under data/raw/extra/ show the known classes and come from other sources. Sets under data/raw/outliers/ show none
of the classes.
"""

from pathlib import Path

from training.data import Photos, Preprocessor, read_folder, read_unlabeled
from training.interruption import UserError
from training.source import EXTRA, OUTLIERS


def read_extra(names: list[str], load: Preprocessor) -> dict[str, Photos]:
    """Read the further sets that show at least two of the model's classes; ROC-AUC is undefined for one.

    Raise `UserError` if a set is called `test`.
    """
    if (EXTRA / "test").exists():
        raise UserError(f"{EXTRA / 'test'} has the name of the test split; rename it")
    found = {path.name: read_folder(path, names, load) for path in list_sets(EXTRA)}
    for name, photos in found.items():
        if len(set(photos.labels)) < 2:
            print(f"{name}: skipped, it shows fewer than two of the classes {', '.join(names)}")
    return {name: photos for name, photos in found.items() if len(set(photos.labels)) > 1}


def read_outliers(taken: set[str], load: Preprocessor) -> dict[str, Photos]:
    """Read the sets that show none of the classes, except for those without a readable photo.

    Raise `UserError` if the name of a set is in `taken`: their metrics would share a name.
    """
    found = {path.name: read_unlabeled(path, load) for path in list_sets(OUTLIERS)}
    for name, photos in found.items():
        if name in taken:
            raise UserError(f"{OUTLIERS / name} has the name of another set that is scored; rename it")
        if not len(photos):
            print(f"{name}: skipped, it has no readable photo")
    return {name: photos for name, photos in found.items() if len(photos)}


def list_sets(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.glob("*")) if not path.name.startswith(".")]  # .DS_Store
