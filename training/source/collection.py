"""Read photos of one source, or of the list of sources that `training.fetch` writes."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path, PurePosixPath

from training.figures import write_json
from training.source.class_level import are_parts
from training.source.fingerprint import fingerprint
from training.source.layout import Layout, detect_layout, merge_classes
from training.source.source_reader import ARCHIVE, SourceError, is_hidden
from training.source.tree import ArchiveTree

MARK = "pet-classifier sources"
CONTRIBUTED = Path("data/contributions/accepted")  # the contributions of users that `make accept` adds


@dataclass(frozen=True)
class SourceList:
    """Sources that are read as one, with the options for reading them.

    The list file contains only the names of the sources, because DVC compares it. Links in a folder beside it point to
    the sources.
    """

    sources: tuple[str, ...]  # absolute paths
    classes: str = ""  # CLASSES: `top`, `bottom` or `species`
    split: str = ""  # SPLIT: `given` or `hash`
    contents: str = ""  # a hash that changes with the files, so that DVC notices

    @property
    def is_plain(self) -> bool:
        """Return whether this is one source that is read as usual, so that no list is needed."""
        return len(self.sources) == 1 and not (self.classes or self.split)

    def write(self, path: Path) -> None:
        """Write the links, then replace the list in one step. Sources of the same name get numbers."""
        paths = [Path(source) for source in self.sources]
        names = tuple(name.rstrip("/") for name in unique_names(paths))
        contents = fingerprint(paths)
        links = _links_of(path)
        links.mkdir(parents=True, exist_ok=True)
        for name, source in zip(names, paths, strict=True):
            replace_link(links / name, source)
        described = replace(self, sources=names, contents=contents)
        write_json(path, {"kind": MARK, **asdict(described)})
        for old in links.iterdir():
            if old.name not in names:
                old.unlink()

    @classmethod
    def read_source_names(cls, path: Path) -> list[str]:
        """Return the names of the archives or folders that the photos at a path come from, sorted."""
        listed = cls.read(path)
        return sorted({Path(source).resolve().name for source in (listed.sources if listed else (path,))})

    @staticmethod
    def is_list(path: Path) -> bool:
        if not path.is_file():
            return False
        with path.open("rb") as file:
            return MARK.encode() in file.read(100)

    @classmethod
    def read(cls, path: Path) -> "SourceList | None":
        """Return the list in a file; None if it is something else. Raise `SourceError` if a link is missing."""
        if not cls.is_list(path):
            return None
        values = json.loads(path.read_text())
        values.pop("kind")
        links = [_links_of(path) / name for name in values["sources"]]  # an absolute path of an older list stays
        if missing := [link for link in links if not (link.is_symlink() or link.exists())]:
            raise SourceError(
                f"{path} lists {missing[0].name!r}, but {missing[0]} is missing; name all sources in DATA="
            )
        return cls(**values | {"sources": tuple(str(link.resolve()) for link in links)})


def replace_link(place: Path, target: Path) -> None:
    """Link `place` to `target` in one step, so that an interruption leaves the old link or the new one."""
    partial = place.with_name(f".{place.name}.partial")
    partial.unlink(missing_ok=True)
    partial.symlink_to(target)
    partial.replace(place)


def _links_of(path: Path) -> Path:
    return path.with_name(f"{path.name}-links")


class Source:
    """Access files by name, relative to the root and with `/`. In a list of sources, names begin with the source."""

    def __init__(self, path: Path, sources: SourceList | None = None) -> None:
        """Open `path`, or the sources of a list that is not in a file; `path` is then only the name for errors."""
        self.path, listed = path, sources or SourceList.read(path)
        self.list = listed or SourceList((str(path),))
        paths = [Path(source) for source in self.list.sources]
        prefixes = unique_names(paths) if listed else [""]
        self.trees = {prefix: ArchiveTree(source) for prefix, source in zip(prefixes, paths, strict=True)}
        for tree in self.trees.values():
            _ = tree.reader  # raises SourceError for a file that is not an archive

    def names(self) -> list[str]:
        """Return all files, and all folders with a trailing `/`, sorted. Raise `SourceError` for an unsafe name."""
        return sorted(f"{prefix}{name}" for prefix, tree in self.trees.items() for name in tree.names())

    def read(self, name: str) -> bytes:
        for prefix, tree in self.trees.items():
            if name.startswith(prefix):
                return tree.read(name.removeprefix(prefix))
        raise KeyError(name)

    def layout(self, aliases: Mapping[str, str]) -> Layout:
        """Detect the layout of each source, and join them. Raise `SourceError` if one has two readings."""
        contributed = tuple(prefix for prefix, tree in self.trees.items() if prefix and is_contributed(tree.path))
        is_joined = len(self.trees) - len(contributed) > 1
        parts = [self._detect_part(prefix, tree, is_joined=is_joined) for prefix, tree in self.trees.items()]
        merged = merge_classes(
            Layout(
                " + ".join(dict.fromkeys(part.kind for part in parts)),
                {name: label for part in parts for name, label in part.labels.items()},
                {name: reason for part in parts for name, reason in part.unlabeled.items()},
                tuple(folder for part in parts for folder in part.empty_folders),
                {name: split for part in parts for name, split in part.splits.items()},
                tuple(dict.fromkeys(note for part in parts for note in part.notes)),
            ),
            aliases,
        )
        return set_aside_new_classes(merged, contributed) if contributed else merged

    def _detect_part(self, prefix: str, tree: ArchiveTree, *, is_joined: bool) -> Layout:
        """Return the layout of one source. If it is joined with others, contributions apart, it has to name classes."""
        try:
            names = tree.names()
            layout = detect_layout(names, self.list.classes, tree.read)
        except SourceError as error:
            message = str(error)
            raise SourceError(message if tree.name in message else f"{tree.name}: {message}") from None
        if is_joined and not layout.labels:
            layout = label_by_source(names, ARCHIVE.sub("", tree.path.name).lower())
        elif is_joined and are_parts(set(layout.labels.values())):
            folders = ", ".join(sorted(set(layout.labels.values()))[:6])
            raise SourceError(
                f"{tree.name}: the folders {folders} name no classes; expected one folder per class in each source, or "
                "photos in no folder; name the parent folder of the sources instead"
            )
        return replace(
            layout,
            labels={f"{prefix}{name}": label for name, label in layout.labels.items()},
            unlabeled={f"{prefix}{name}": reason for name, reason in layout.unlabeled.items()},
            empty_folders=tuple(f"{prefix}{name}" for name in layout.empty_folders),
            splits={f"{prefix}{name}": split for name, split in layout.splits.items()},
        )

    def __getstate__(self) -> dict[str, object]:
        return self.__dict__ | {"trees": {prefix: ArchiveTree(tree.path) for prefix, tree in self.trees.items()}}


def is_contributed(path: Path) -> bool:
    """Return whether a source is the folder of the accepted contributions."""
    return path.resolve() == CONTRIBUTED.resolve()


def set_aside_new_classes(layout: Layout, contributed: tuple[str, ...]) -> Layout:
    """Set contributions aside whose class no other source has; `contributed` are the prefixes of their names.

    They must not add a class: the limits of `verify` and the comparison with the champion apply to known classes.
    """
    known = {label for name, label in layout.labels.items() if not name.startswith(contributed)}
    new = {
        name: "contributed for a class that no other source has"
        for name, label in layout.labels.items()
        if name.startswith(contributed) and label not in known
    }
    labels = {name: label for name, label in layout.labels.items() if name not in new}
    return replace(layout, labels=labels, unlabeled=layout.unlabeled | new)


def label_by_source(names: list[str], label: str) -> Layout:
    """Return the layout of a source whose photos are in no folder: in a list of sources, its name is the class."""
    files = [PurePosixPath(n) for n in names if not n.endswith("/")]
    labels = {str(f): label for f in files if not is_hidden(f)}
    unlabeled = {str(f): "hidden file" for f in files if is_hidden(f)}
    return Layout("a source per class", labels, unlabeled, ())


def unique_names(paths: list[Path]) -> list[str]:
    """Return a folder name for each source; those of the same name are numbered."""
    names: list[str] = []
    for path in paths:
        name, number = path.name, 1
        while f"{name}/" in names:
            number += 1
            name = f"{path.name} ({number})"
        names.append(f"{name}/")
    return names
