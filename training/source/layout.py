"""Find the class of each photo, from its folder, its name or a table."""

import re
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath

from lambda_app.preprocess import SIGNATURES
from training.source.class_level import FolderClasses, find_class_folders, find_split
from training.source.label_table import read_label_tables
from training.source.source_reader import SUFFIXES, UNREADABLE, SourceError, is_hidden

KAGGLE = re.compile(r"(?P<label>[^./]+)\.\d+\.\w+")  # cat.0.jpg
NUMBERED = re.compile(r"(?P<label>.+?)[_-]\d+(\.\w+)?")  # Abyssinian_100.jpg
CAMERAS = {"img", "dsc", "dscn", "dcim", "image", "photo", "pic", "picture", "pxl", "screenshot", "whatsapp image", "p"}
OXFORD = ("annotations/list.txt", "annotations/trainval.txt", "annotations/test.txt")
# Abyssinian_100 1 1 1: name, number of the breed, species (1 cat, 2 dog), number within the species
OXFORD_LINE = re.compile(r"(\S+)_\d+ \d+ ([12]) \d+")
SNIFFED = 3  # files per folder whose first bytes are checked if no name in the folder ends like an image
Read = Callable[[str], bytes]


@dataclass(frozen=True)
class Layout:
    """The labels of a source, and how they were found."""

    kind: str
    labels: dict[str, str]  # file name to label, lower case
    unlabeled: dict[str, str]  # file name to the reason why it has no label
    empty_folders: tuple[str, ...]  # siblings of the class folders
    splits: dict[str, str] = field(default_factory=dict)  # file name to the split that a folder or shard names
    notes: tuple[str, ...] = ()  # decisions that the user should know


def detect_layout(names: list[str], choice: str = "", read: Read | None = None) -> Layout:
    """Detect the layout: a table of labels, `train/cat.1.jpg`, `Cat/1.jpg` at any depth, or `cat_1.jpg`.

    `choice` is CLASSES: `top` or `bottom` selects the level of folders, `species` the classes of Oxford-IIIT Pet.
    Raise `SourceError` if the folders can be read in two ways.
    """
    files = {name: PurePosixPath(name) for name in names if not name.endswith("/")}
    visible = {name: file for name, file in files.items() if not is_hidden(file)}
    photos = {n: f for n, f in visible.items() if f.suffix.lower() in SUFFIXES}
    if read is not None:
        photos |= sniff_photos({n: f for n, f in visible.items() if n not in photos}, set(photos.values()), read)
    found = None if choice in {"top", "bottom"} else _detect_names_or_table(files, photos, choice, read)
    layout = found or _detect_folders(names, files, photos, choice)
    if not found and len(set(layout.labels.values())) < 2 and (numbered := _numbered(photos)):
        layout = _make_layout("file names", files, numbered, "not named label_number")
    return replace(layout, splits={n: split for n in layout.labels if (split := find_split(files[n]))})


def sniff_photos(files: Mapping[str, PurePosixPath], known: set[PurePosixPath], read: Read) -> dict[str, PurePosixPath]:
    """Return the files of the folders without a known photo in which one of the first files is an image."""
    folders: dict[PurePosixPath, list[str]] = {}
    for name, file in files.items():
        folders.setdefault(file.parent, []).append(name)
    with_photos = {file.parent for file in known}
    return {
        name: files[name]
        for folder, names in folders.items()
        if folder not in with_photos and any(_is_image(name, read) for name in names[:SNIFFED])
        for name in names
    }


def merge_classes(layout: Layout, aliases: Mapping[str, str]) -> Layout:
    """Rename classes by `aliases`, and add a note for each renamed class."""
    labels = {name: aliases.get(label, label) for name, label in layout.labels.items()}
    renamed = sorted({(label, labels[name]) for name, label in layout.labels.items() if label != labels[name]})
    notes = (*layout.notes, *(f"class {old!r} counts as {new!r} (prepare.aliases)" for old, new in renamed))
    return replace(layout, labels=labels, notes=notes)


def _detect_names_or_table(
    files: dict[str, PurePosixPath], photos: dict[str, PurePosixPath], choice: str, read: Read | None
) -> Layout | None:
    if _has_kaggle_names(list(photos.values())):
        folders = {f.parent for f in photos.values() if KAGGLE.fullmatch(f.name)}
        found = {n: KAGGLE.fullmatch(f.name) for n, f in files.items() if f.parent in folders and not is_hidden(f)}
        labels = {name: match["label"].lower() for name, match in found.items() if match}
        return _make_layout("kaggle", files, labels, "not named label.number")
    if read is None:
        return None
    if labels := _oxford_labels(files, photos, choice, read):
        note = "classes are breeds; CLASSES=species makes cats and dogs" if choice != "species" else ""
        layout = _make_layout("Oxford-IIIT Pet", files, labels, "not in the annotations")
        return replace(layout, notes=(note,) if note else ())
    table, labels = read_label_tables([n for n, f in files.items() if not is_hidden(f)], list(photos), read)
    return _make_layout(f"table {table}", files, labels, f"not in {table}") if labels else None


def _make_layout(kind: str, files: Iterable[str], labels: dict[str, str], reason_for_others: str) -> Layout:
    outside = {n: reason_for_others for n in files if n not in labels}
    return Layout(kind, labels, outside, empty_folders=())


def _detect_folders(
    names: list[str], files: dict[str, PurePosixPath], photos: dict[str, PurePosixPath], choice: str
) -> Layout:
    folders = {f.parent for f in photos.values() if f.parent.name}
    if choice != "top":
        _check_flat(folders)
    classes = find_class_folders(folders, choice)
    labels = {
        n: classes.labels[f.parent].lower() for n, f in files.items() if f.parent in classes.labels and not is_hidden(f)
    }
    reasons = {n: _explain_exclusion(f, classes) for n, f in files.items() if n not in labels}
    notes = (*classes.notes, *_case_variants(set(classes.labels.values())))
    return Layout("class folders", labels, reasons, _empty_folders(names, folders), notes=notes)


def _explain_exclusion(file: PurePosixPath, classes: FolderClasses) -> str:
    if is_hidden(file):
        return "hidden file"
    return "in a split folder without a class" if file.parent in classes.without_class else "outside the class folders"


def _case_variants(names: set[str]) -> list[str]:
    variants: dict[str, list[str]] = {}
    for name in sorted(names):
        variants.setdefault(name.lower(), []).append(name)
    return [f"folders {', '.join(v)} are one class, {k!r}" for k, v in variants.items() if len(v) > 1]


def _has_kaggle_names(photos: list[PurePosixPath]) -> bool:
    """Return whether most names are `label.number`, with all labels in one folder, or in one folder per split."""
    labels: dict[PurePosixPath, set[str]] = {}
    matches = [(photo, match) for photo in photos if (match := KAGGLE.fullmatch(photo.name))]
    for photo, match in matches:
        labels.setdefault(photo.parent, set()).add(match["label"].lower())
    mixed = all(len(names) > 1 for names in labels.values())
    by_split = len(labels) == 1 or all(find_split(folder / "x") for folder in labels)
    return mixed and by_split and len(matches) * 2 > len(photos)


def _numbered(photos: dict[str, PurePosixPath]) -> dict[str, str]:
    """Return labels from names like `cat_1.jpg` if nearly all photos have one, with two photos per label or more."""
    found = {n: m["label"].lower() for n, f in photos.items() if (m := NUMBERED.fullmatch(f.name))}
    labels = set(found.values())
    usable = len(labels) > 1 and not labels & CAMERAS and len(found) >= 2 * len(labels)
    return found if usable and len(found) * 10 > len(photos) * 9 else {}


def _oxford_labels(
    files: dict[str, PurePosixPath], photos: dict[str, PurePosixPath], choice: str, read: Read
) -> dict[str, str]:
    """Return the breed or, for CLASSES=species, the species of the photos that the annotations list."""
    lists = [name for name, file in files.items() if name.endswith(OXFORD) and not is_hidden(file)]
    lines: list[str] = []
    for name in lists:
        with suppress(*UNREADABLE):
            lines += read(name).decode("utf-8", "replace").splitlines()
    listed = {line.split()[0]: match for line in lines if (match := OXFORD_LINE.fullmatch(line.strip()))}
    column = 2 if choice == "species" else 1
    names = {stem: match[column].lower() for stem, match in listed.items()}
    species = {"1": "cat", "2": "dog"}
    labels = {n: names[f.stem] for n, f in photos.items() if f.stem in names and "annotations" not in str(f.parent)}
    return {n: species.get(label, label) if choice == "species" else label for n, label in labels.items()}


def _is_image(name: str, read: Read) -> bool:
    try:
        return is_image(read(name))
    except UNREADABLE:  # `prepare` reports the unreadable file; this check only looks for images
        return False


def is_image(data: bytes) -> bool:
    """Return whether the first bytes are those of a supported image format."""
    return any(data.startswith(signature, offset) for offset, signature, _ in SIGNATURES)


def _check_flat(folders: set[PurePosixPath]) -> None:
    for folder in sorted(folders):
        if outer := folders & set(folder.parents):
            raise SourceError(
                f"photos are in {str(min(outer))!r} and in its subfolder {str(folder)!r}; expected one of the two "
                "(CLASSES=top takes the subfolders as parts of the class)"
            )


def _empty_folders(names: list[str], folders: set[PurePosixPath]) -> tuple[str, ...]:
    beside = {folder.parent for folder in folders}
    listed = [PurePosixPath(n) for n in names if n.endswith("/")]
    used = folders | {parent for folder in folders for parent in folder.parents}
    return tuple(str(d) for d in listed if d.parent in beside and not is_hidden(d) and d not in used)
