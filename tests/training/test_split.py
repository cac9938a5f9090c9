"""Test splits: duplicates share one, hashes decide, and few photos of small classes move."""

from collections import Counter, defaultdict
from dataclasses import replace
from functools import cache
from hashlib import sha256
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tests.support.drawing import LABELS, draw, encode_image
from training.prepare import inspect_photo
from training.split import (
    ENOUGH,
    MAX_MOVES,
    SPLITS,
    Row,
    assign_splits,
    fill_splits,
    group_duplicates,
    photos_needed,
    split_by_hash,
)

BITS, SHARE = 4, 0.6  # a smaller share than in params.yaml, to fill all three splits with few photos


def assign(rows):
    return assign_splits(group_duplicates(rows, BITS), SHARE)


# --- duplicates

# Ways in which an archive gets two copies of a photo. They change at most 4 of 64 bits of the perceptual hash.
COPIES = {
    "the same file": encode_image,
    "compressed again": lambda image: encode_image(image, quality=80),
    "another format": lambda image: encode_image(image, "PNG"),
    "half as large again": lambda image: encode_image(image.resize((144, 144), Image.Resampling.BICUBIC), quality=90),
    "smaller": lambda image: encode_image(image.resize((80, 80), Image.Resampling.LANCZOS), "WEBP", quality=90),
}


@cache
def row_of(label, seed, copy):
    """Return a drawing's row as `prepare` makes it, with a name that describes the drawing."""
    name = f"{label}/{seed}-{copy}.jpg"
    data = COPIES[copy](draw(label, seed, 96))
    return inspect_photo(SimpleNamespace(read={name: data}.get), name, label)


photo_sets = st.lists(
    st.builds(row_of, st.sampled_from(LABELS), st.integers(0, 15), st.sampled_from(list(COPIES))),
    max_size=40,
    unique_by=lambda row: row.id,
)


@given(photo_sets)
def test_copies_share_a_group(rows):
    """All copies of a drawing, and no other photo, form a group named by their smallest SHA-256."""
    expected = defaultdict(list)
    for row in rows:
        expected[row.id.split("-")[0]].append(row.sha256)
    assert {row.id: min(expected[row.id.split("-")[0]]) for row in rows} == {row.id: row.group for row in assign(rows)}


@given(photo_sets)
def test_group_is_in_one_split(rows):
    """The copies that are used are in one split, and at least one is used."""
    splits = defaultdict(set)
    for row in assign(rows):
        splits[row.group].add(row.split)
    assert all(1 == len(used - {""}) for used in splits.values())


@given(photo_sets)
def test_photo_has_its_split_or_a_reason(rows):
    """A photo has the split of its own hash, or none and a reason."""
    for row in assign(rows):
        natural = split_by_hash(row.sha256, SHARE)
        assert natural == row.split or (not row.split and row.reason.startswith("duplicate of a photo in "))


@given(photo_sets, st.data())
def test_adding_photos_never_moves_a_photo(rows, data):
    """When a set grows, no photo moves from one split to another."""
    before = data.draw(st.permutations(rows))[: len(rows) // 2]
    after = {row.id: row.split for row in assign(rows)}
    assert all(after[row.id] in {row.split, ""} for row in assign(before))


@given(photo_sets, st.data())
def test_split_ignores_names_and_order(rows, data):
    """The split depends on the bytes alone, not on names and order."""
    renamed = [replace(row, id=f"{i}.jpg") for i, row in enumerate(data.draw(st.permutations(rows)))]
    assert _by_content(assign(rows)) == _by_content(assign(renamed))


def _by_content(rows):
    return {row.sha256: (row.split, row.group, row.reason) for row in rows}


@pytest.mark.parametrize(("splits", "expected"), [("train val test", "test"), ("val train", "val")])
def test_copy_in_the_test_split_stays(splits, expected):
    """Among copies in several splits, the one in the test split stays; without one, that in validation stays."""
    first_digit = {"train": "0", "val": "a", "test": "f"}  # below 0.6, below 0.8, and the rest
    rows = [Row(id=name, sha256=first_digit[name] * 64, label="cat") for name in splits.split()]
    reason = f"duplicate of a photo in {expected}"
    assert {name: (name, "") if name == expected else ("", reason) for name in splits.split()} == {
        row.id: (row.split, row.reason) for row in assign(rows)
    }


def test_group_with_different_labels_is_set_aside():
    """Copies of a photo in two classes are all set aside."""
    rows = [row_of("cat", 0, "the same file"), replace(row_of("cat", 0, "compressed again"), label="dog")]
    assert [("", "duplicates with different labels")] * 2 == [(row.split, row.reason) for row in assign(rows)]


def test_grouping_is_transitive():
    """Two photos 8 bits apart are in one group if a third is 4 bits from both."""
    hashes = [0b0, 0b1111, 0b11111111, 0xFFFF << 48]
    rows = [Row(id=str(i), sha256=f"{i:064x}", phash=phash) for i, phash in enumerate(hashes)]
    assert [f"{i:064x}" for i in (0, 0, 0, 3)] == [row.group for row in group_duplicates(rows, 4)]


def test_grouping_ends_above_the_limit():
    """Photos that differ in one bit more than allowed are in different groups."""
    rows = [Row(id=str(i), sha256=f"{i:064x}", phash=phash) for i, phash in enumerate([0, 0b11111])]
    assert 2 == len({row.group for row in group_duplicates(rows, 4)})


def test_grouping_compares_all_blocks():
    """Duplicates are found across the blocks of 512 rows."""
    hashes = np.random.default_rng(0).integers(0, 2**64, 1500, np.uint64).tolist()
    rows = [Row(id=str(i), sha256=f"{i:064x}", phash=phash) for i, phash in enumerate([*hashes, hashes[3]])]
    assert [(f"{3:064x}", 2)] == Counter(row.group for row in group_duplicates(rows, 4)).most_common(1)


# --- shares


def test_splits_have_their_shares():
    """2,000 random files are split 80/10/10 in each class, within four standard deviations."""
    rng = np.random.default_rng(0)
    phashes = rng.integers(0, 2**64, 2000, np.uint64).tolist()
    rows = [Row(str(i), rng.bytes(32).hex(), LABELS[i % 2], phash=phash) for i, phash in enumerate(phashes)]
    counts = Counter((row.label, row.split) for row in assign_splits(group_duplicates(rows, BITS), 0.8))
    for label in LABELS[:2]:
        assert [0.8, 0.1, 0.1] == pytest.approx([counts[label, name] / 1000 for name in SPLITS], abs=0.05)


@pytest.mark.parametrize(
    ("first_bits", "expected"),
    [("00000000", "train"), ("cccccccc", "train"), ("cccccccd", "val"), ("e6666666", "val"), ("e6666667", "test")],
)
def test_split_boundaries(first_bits, expected):
    """The first 32 bits are a number in [0, 1): below 0.8 is training, below 0.9 validation, the rest test."""
    assert expected == split_by_hash(first_bits + "f" * 56, 0.8)


# --- small classes


def small_class(count, first=0):
    """Return usable rows of one class, with random hashes and no duplicates."""
    hashes = [sha256(f"{i}".encode()).hexdigest() for i in range(first, first + count)]
    return [Row(id=f"{name}.jpg", sha256=name, label="cat", group=name) for name in hashes]


def filled(rows):
    return {row.id: row.split for row in fill_splits(assign_splits(rows, 0.8), 0.8)}


@given(st.integers(3, 200), st.integers(0, 10_000))
def test_each_split_has_the_photos_it_needs(count, first):
    """Validation and test have half of their share of a class, at most five photos, and training at least one."""
    counts = Counter(filled(small_class(count, first)).values())
    assert counts["train"] >= 1
    assert min(counts["val"], counts["test"]) >= photos_needed(count, 0.8)


@given(st.integers(3, 200), st.integers(0, 10_000))
def test_adding_a_photo_moves_few(count, first):
    """Adding one photo to a class moves at most `MAX_MOVES` others."""
    rows = small_class(count + 1, first)
    before, after = filled(rows[:-1]), filled(rows)
    assert sum(before[name] != after[name] for name in before) <= MAX_MOVES


@given(st.integers(3, 300), st.integers(0, 10_000))
def test_photos_move_no_further_than_needed(count, first):
    """A class whose splits have enough photos by hash keeps them, now and when photos are added."""
    rows = small_class(count, first)
    natural = {row.id: split_by_hash(row.sha256, 0.8) for row in rows}
    counts = Counter(natural.values())
    moved = sum(split != natural[name] for name, split in filled(rows).items())
    needed = photos_needed(count, 0.8)
    missing = sum(max(0, needed - counts[split]) for split in ("val", "test"))
    assert moved <= 2 * missing + (0 if counts["train"] else 2)
    if min(counts["val"], counts["test"]) >= ENOUGH and counts["train"]:
        assert filled([*rows, *small_class(50, 20_000)]) == natural | {
            row.id: split_by_hash(row.sha256, 0.8) for row in small_class(50, 20_000)
        }


def test_other_classes_stay_where_they_are():
    """Filling one class moves no photo of another, and a copy of a moved photo moves with it or is set aside."""
    large = [replace(row, label="dog") for row in small_class(500, 1000)]
    small = small_class(5)
    copies = [replace(small[0], id="copy.jpg", sha256="0" + small[0].sha256[1:])]
    splits = filled([*large, *small, *copies])
    assert {row.id: split_by_hash(row.sha256, 0.8) for row in large} == {row.id: splits[row.id] for row in large}
    assert {"train", "val", "test"} == {splits[row.id] for row in small if splits[row.id]}
    assert splits["copy.jpg"] in {"", splits[small[0].id]}


def test_copies_in_further_folders_are_set_aside():
    """Copies in another folder are set aside; those in the same folder stay in their common split."""
    [row] = small_class(1)
    rows = [replace(row, id=name) for name in ("b/1.jpg", "a/1.jpg", "a/2.jpg")]
    reason = "copy of a photo in another folder"
    assert {"a/1.jpg": "", "a/2.jpg": "", "b/1.jpg": reason} == {r.id: r.reason for r in assign_splits(rows, 0.8)}
