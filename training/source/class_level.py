"""Decide which level of folders names the classes, and which levels name only splits, years or parts."""

import re
from collections import Counter
from dataclasses import dataclass
from pathlib import PurePosixPath

from training.source.source_reader import ARCHIVE, SourceError

SPLIT = re.compile(
    r"(?P<name>train|training|val|valid|validation|dev|test|testing)"
    r"([-_ ]?(set|data|images?|photos?))?\d*(-\d+-of-\d+)?(\.\w+)*",
    re.IGNORECASE,
)
SPLIT_SYNONYMS = {"training": "train", "valid": "val", "validation": "val", "dev": "val", "testing": "test"}
# Names that are not class names: years and dates, numbers, and words for photos.
PARTS = {"image", "images", "img", "imgs", "photo", "photos", "picture", "pictures", "pics", "data", "files", "raw"}
NUMBER = re.compile(r"[\W_]*\d[\d\W_]*")
TRAILING = re.compile(r"[\W_]*\d[\d\W_]*$")


@dataclass(frozen=True)
class FolderClasses:
    """The class of each folder of photos."""

    labels: dict[PurePosixPath, str]
    without_class: frozenset[PurePosixPath]  # split folders with photos of their own
    notes: tuple[str, ...]


def find_split(file: PurePosixPath) -> str:
    """Return `train`, `val` or `test` if a folder or shard above the file has such a name, else an empty string."""
    for part in reversed(file.parts[:-1]):
        if match := SPLIT.fullmatch(part):
            return SPLIT_SYNONYMS.get(name := match["name"].lower(), name)
    return ""


def find_class_folders(folders: set[PurePosixPath], choice: str) -> FolderClasses:
    """Return the class of each folder of photos. `choice` is `top`, `bottom` or empty.

    Folders of splits and those above all photos name no class. Of the remaining levels, the only one whose names are
    not just numbers, dates or parts names the classes. Raise `SourceError` if there are several such levels.
    """
    parts = _without_common(_without_splits(folders))
    named = {folder: levels for folder, levels in parts.items() if levels}
    without = frozenset(set(parts) - set(named))
    if not named:
        return FolderClasses({}, without, ())
    level = {"top": 0, "bottom": -1}.get(choice)
    if level is None:
        level = _find_level(list(named.values()))
    labels = {folder: ARCHIVE.sub("", levels[level]) for folder, levels in named.items()}
    deeper = max(map(len, named.values())) > 1
    note = f"classes are the folders {', '.join(sorted(set(labels.values()))[:5])}; folders at other levels are parts"
    return FolderClasses(labels, without, (note,) if deeper else ())


def _without_splits(folders: set[PurePosixPath]) -> dict[PurePosixPath, tuple[str, ...]]:
    """Return the names on the way to each folder, without the levels at which all folders name a split."""
    children: dict[PurePosixPath, set[str]] = {}
    for folder in folders:
        for place in (folder, *folder.parents):
            if place.name:
                children.setdefault(place.parent, set()).add(place.name)
    splits = {place for place, names in children.items() if all(SPLIT.fullmatch(name) for name in names)}
    return {
        folder: tuple(
            place.name for place in reversed((folder, *folder.parents)) if place.name and place.parent not in splits
        )
        for folder in folders
    }


def _without_common(parts: dict[PurePosixPath, tuple[str, ...]]) -> dict[PurePosixPath, tuple[str, ...]]:
    """Return the names without the common prefix of all folders. Each folder keeps at least one name."""
    named = [levels for levels in parts.values() if levels]
    common = 0
    while (
        named and all(len(levels) > common + 1 for levels in named) and len({levels[common] for levels in named}) == 1
    ):
        common += 1
    return {folder: levels[common:] for folder, levels in parts.items()}


def _find_level(named: list[tuple[str, ...]]) -> int:
    depths = set(map(len, named))
    if depths == {1}:
        return 0
    levels = range(min(depths)) if len(depths) == 1 else (0, -1)
    names = {level: {n[level] for n in named if len(n) > 1} for level in levels}
    if len(depths) > 1:  # a folder of one level is the class in both readings
        names[0] |= {n[0] for n in named}
    candidates = [level for level in levels if len(names[level]) > 1 and not are_parts(names[level])]
    if len(candidates) == 1:
        return candidates[0]
    raise SourceError(_describe(named))


def are_parts(names: set[str]) -> bool:
    """Return whether the names are not class names: 2021 and 2022, session1 and session2, images."""
    if all(name.lower() in PARTS or NUMBER.fullmatch(name) for name in names):
        return True
    stems = {TRAILING.sub("", name).lower() for name in names}
    return len(names) > 1 and len(stems) == 1 and all(TRAILING.search(name) for name in names)


def _describe(named: list[tuple[str, ...]]) -> str:
    readings = []
    for choice, level in (("top", 0), ("bottom", -1)):
        counts = Counter(levels[level] for levels in named)
        shown = ", ".join(sorted(counts)[:6]) + (", …" if len(counts) > 6 else "")
        readings.append(f"CLASSES={choice} reads {len(counts)} classes ({shown})")
    return (
        f"folders of photos are inside each other and have two readings: {'; '.join(readings)}. Choose one of the two"
    )
