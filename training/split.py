"""Assign photos to the training, validation and test splits by content hash.

Duplicates that fall into several splits are set aside, except those of one split.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

SPLITS = ("train", "val", "test")
ENOUGH = 5  # photos of a class in validation and in test, each; a class that has as many by hash is not changed
MAX_MOVES = 3  # when one photo is added to a small class


@dataclass(frozen=True)
class Row:
    """One file of the source. A file that was set aside has a `reason` and no `split`."""

    id: str  # path in the archive
    sha256: str = ""
    label: str = ""
    split: str = ""
    group: str = ""  # smallest sha256 among the exact and near duplicates of the photo
    reason: str = ""
    phash: int = 0  # 64 bits


def group_duplicates(rows: list[Row], max_bits: int) -> list[Row]:
    """Group rows whose perceptual hashes (pHash, 64 bits) differ in at most `max_bits`, transitively.

    Compares all pairs, 512 rows at a time: 1.5 s for 16,000 photos, growing quadratically.
    """
    usable = [row for row in rows if not row.reason]
    hashes = np.array([row.phash for row in usable], dtype=np.uint64)
    members = defaultdict(list)
    for row, component in zip(usable, _components(hashes, max_bits), strict=True):
        members[component].append(row)
    groups = {row.id: min(r.sha256 for r in group) for group in members.values() for row in group}
    return [replace(row, group=groups.get(row.id, "")) for row in rows]


def _components(hashes: NDArray[np.uint64], max_bits: int) -> list[int]:
    left, right = [np.empty(0, int)], [np.empty(0, int)]
    for start in range(0, len(hashes), 512):
        near = np.bitwise_count(hashes[start : start + 512, None] ^ hashes[None, :]) <= max_bits
        i, j = np.nonzero(near)
        left.append(i + start)
        right.append(j)
    i, j = np.concatenate(left), np.concatenate(right)
    graph = coo_array((np.ones(len(i), bool), (i, j)), shape=(len(hashes), len(hashes)))
    return list(connected_components(graph, directed=False)[1])


def assign_splits(rows: list[Row], train_share: float, given: Mapping[str, str] | None = None) -> list[Row]:
    """Assign each usable photo to a split: by its content hash, or to the one that `given` names for its ID.

    If a group of duplicates falls into several splits, its members in the test split stay (otherwise those in
    validation), and the others are set aside. A group with different labels is set aside entirely. Of copies in
    several folders, those in the first folder stay.
    """
    given = given or {}
    rows = [
        row if row.reason else replace(row, split=given.get(row.id) or split_by_hash(row.sha256, train_share))
        for row in rows
    ]
    members = defaultdict(list)
    for row in rows:
        if row.split:
            members[row.group].append(row)
    return _drop_copies([_resolve_duplicates(row, members[row.group]) if row.split else row for row in rows])


def fill_splits(rows: list[Row], train_share: float) -> list[Row]:
    """Move the photos of small classes that are nearest to a boundary, so that each split has `photos_needed` of them.

    Photos of a class are ranked by hash; a boundary between two splits moves by as few photos as possible. So adding
    one photo moves at most `MAX_MOVES` others, all of its class, and none once the hash alone gives each split
    `ENOUGH` photos of the class.
    """
    classes: dict[str, dict[str, str]] = defaultdict(dict)  # label to the first hash of each group of duplicates
    for row in rows:
        if row.split:
            hashes = classes[row.label]
            hashes[row.group] = min(row.sha256, hashes.get(row.group, row.sha256))
    splits = {
        group: split
        for hashes in classes.values()
        for group, split in zip(sorted(hashes, key=hashes.__getitem__), _fill(hashes, train_share), strict=True)
    }
    return [replace(row, split=splits[row.group]) if row.split else row for row in rows]


def photos_needed(count: int, train_share: float) -> int:
    """Return how many of the `count` photos of a class validation and test need each: half of their share, 1 to 5."""
    return max(1, min(ENOUGH, round(count * (1 - train_share) / 4)))


def _fill(hashes: Mapping[str, str], train_share: float) -> list[str]:
    """Return the split of each hash, in ascending order of the hashes."""
    natural = Counter(split_by_hash(sha256, train_share) for sha256 in hashes.values())
    count, needed = len(hashes), photos_needed(len(hashes), train_share)
    test_begins = min(count - natural["test"], count - needed)
    val_begins = min(natural["train"], test_begins - needed)
    val_begins = max(val_begins, min(1, count))  # one photo to train on, however few there are
    test_begins = max(test_begins, min(val_begins + 1, count))
    return [SPLITS[(rank >= val_begins) + (rank >= test_begins)] for rank in range(count)]


def split_by_hash(sha256: str, train_share: float) -> str:
    """Return the split of a photo.

    Hashes whose share is below `train_share` are for training; validation and test get equal parts of the rest.
    """
    share = hash_to_share(sha256)
    if share < train_share:
        return "train"
    return "val" if share < (1 + train_share) / 2 else "test"


def hash_to_share(sha256: str) -> float:
    """Return the first 32 bits of a hash as a uniform number in [0, 1)."""
    return int(sha256[:8], 16) / 2**32


def _resolve_duplicates(row: Row, group: list[Row]) -> Row:
    if len({member.label for member in group}) > 1:
        return replace(row, split="", reason="duplicates with different labels")
    kept = max((member.split for member in group), key=SPLITS.index)
    return row if row.split == kept else replace(row, split="", reason=f"duplicate of a photo in {kept}")


def _drop_copies(rows: list[Row]) -> list[Row]:
    """Set copies of a photo of the same class in further folders aside. Copies in one folder share a split anyway."""
    folders: dict[tuple[str, str], str] = {}
    for row in sorted(rows, key=lambda r: r.id):
        if row.split:
            folders.setdefault((row.label, row.sha256), row.id.rpartition("/")[0])
    return [
        replace(row, split="", reason="copy of a photo in another folder")
        if row.split and row.id.rpartition("/")[0] != folders[row.label, row.sha256]
        else row
        for row in rows
    ]
