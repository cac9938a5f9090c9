"""Assign photos to the training, validation and test splits by content, with duplicates in the same split."""

from collections import defaultdict
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

SPLITS = ("train", "val", "test")


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


def assign_splits(rows: list[Row], train_share: float) -> list[Row]:
    """Assign each usable photo to a split by its content hash: the same shares of every class, on average.

    The content alone decides, so adding files never moves a photo to another split. If a group of duplicates falls
    into several splits, its members in the test split stay (otherwise those in validation), and the others are set
    aside. A group with different labels is set aside entirely.
    """
    rows = [replace(row, split=split_by_hash(row.sha256, train_share)) if not row.reason else row for row in rows]
    members = defaultdict(list)
    for row in rows:
        if row.split:
            members[row.group].append(row)
    return [_resolve_duplicates(row, members[row.group]) if row.split else row for row in rows]


def split_by_hash(sha256: str, train_share: float) -> str:
    """Return the split of a photo: the first 32 bits of its hash are a uniform number in [0, 1).

    Numbers below `train_share` are for training; validation and test share the rest equally.
    """
    position = int(sha256[:8], 16) / 2**32
    if position < train_share:
        return "train"
    return "val" if position < (1 + train_share) / 2 else "test"


def _resolve_duplicates(row: Row, group: list[Row]) -> Row:
    if len({member.label for member in group}) > 1:
        return replace(row, split="", reason="duplicates with different labels")
    kept = max((member.split for member in group), key=SPLITS.index)
    return row if row.split == kept else replace(row, split="", reason=f"duplicate of a photo in {kept}")
