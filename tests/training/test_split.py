"""Splits: nothing similar straddles, nothing moves, and every class has its share."""

from collections import Counter, defaultdict
from dataclasses import replace
from functools import cache
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tests.drawing import LABELS, draw, encode
from training.prepare import inspect_one
from training.split import SPLITS, Row, group, natural_split, split

BITS, SHARE = 4, 0.6  # with less for training than params.yaml has, small sets fill all three splits


def divided(rows):
    return split(group(rows, BITS), SHARE)


# --- duplicates

# How a photo comes to lie in an archive twice. At most 4 of 64 bits of the perceptual hash change.
COPIES = {
    "the same file": encode,
    "compressed again": lambda image: encode(image, quality=80),
    "another format": lambda image: encode(image, "PNG"),
    "half as large again": lambda image: encode(image.resize((144, 144), Image.Resampling.BICUBIC), quality=90),
    "smaller": lambda image: encode(image.resize((80, 80), Image.Resampling.LANCZOS), "WEBP", quality=90),
}


@cache
def row_of(label, seed, copy):
    """As `prepare` sees a drawing, under a name that says what it is."""
    name = f"{label}/{seed}-{copy}.jpg"
    data = COPIES[copy](draw(label, seed, 96))
    return inspect_one(SimpleNamespace(read={name: data}.get), name, label)


photo_sets = st.lists(
    st.builds(row_of, st.sampled_from(LABELS), st.integers(0, 15), st.sampled_from(list(COPIES))),
    max_size=40,
    unique_by=lambda row: row.id,
)


@given(photo_sets)
def test_copies_share_a_group(rows):
    """All copies of a drawing, and no other, are one group, named by the smallest SHA-256 among them."""
    expected = defaultdict(list)
    for row in rows:
        expected[row.id.split("-")[0]].append(row.sha256)
    assert {row.id: min(expected[row.id.split("-")[0]]) for row in rows} == {row.id: row.group for row in divided(rows)}


@given(photo_sets)
def test_groups_never_straddle(rows):
    """The copies that are used lie in one split, and one of them is used."""
    splits = defaultdict(set)
    for row in divided(rows):
        splits[row.group].add(row.split)
    assert all(1 == len(used - {""}) for used in splits.values())


@given(photo_sets)
def test_what_straddles_is_set_aside(rows):
    """A photo has the split of its own bytes, or none and the reason."""
    for row in divided(rows):
        natural = natural_split(row.sha256, SHARE)
        assert natural == row.split or (not row.split and row.reason.startswith("duplicate of a photo in "))


@given(photo_sets, st.data())
def test_adding_never_moves(rows, data):
    """However a set grows, no photo changes from one split to another."""
    before = data.draw(st.permutations(rows))[: len(rows) // 2]
    after = {row.id: row.split for row in divided(rows)}
    assert all(after[row.id] in {row.split, ""} for row in divided(before))


@given(photo_sets, st.data())
def test_names_and_order_say_nothing(rows, data):
    """The split follows from the bytes alone, whatever the files are called and however they are sorted."""
    renamed = [replace(row, id=f"{i}.jpg") for i, row in enumerate(data.draw(st.permutations(rows)))]
    assert _by_content(divided(rows)) == _by_content(divided(renamed))


def _by_content(rows):
    return {row.sha256: (row.split, row.group, row.reason) for row in rows}


@pytest.mark.parametrize(("splits", "expected"), [("train val test", "test"), ("val train", "val")])
def test_which_copy_stays(splits, expected):
    """Of copies that would straddle, the one in the test split stays, else the one in validation."""
    first_digit = {"train": "0", "val": "a", "test": "f"}  # below 0.6, below 0.8, and the rest
    rows = [Row(id=name, sha256=first_digit[name] * 64, label="cat") for name in splits.split()]
    reason = f"duplicate of a photo in {expected}"
    assert {name: (name, "") if name == expected else ("", reason) for name in splits.split()} == {
        row.id: (row.split, row.reason) for row in divided(rows)
    }


def test_contradicting_labels():
    """The same photo in two classes is in none: its label is not known."""
    rows = [row_of("cat", 0, "the same file"), replace(row_of("cat", 0, "compressed again"), label="dog")]
    assert [("", "duplicates with different labels")] * 2 == [(row.split, row.reason) for row in divided(rows)]


def test_chains_are_one_group():
    """Likeness is passed on: two photos 8 bits apart belong together through one that is 4 bits from both."""
    hashes = [0b0, 0b1111, 0b11111111, 0xFFFF << 48]
    rows = [Row(id=str(i), sha256=f"{i:064x}", phash=phash) for i, phash in enumerate(hashes)]
    assert [f"{i:064x}" for i in (0, 0, 0, 3)] == [row.group for row in group(rows, 4)]


def test_five_bits_are_different_photos():
    """One bit more than allowed separates."""
    rows = [Row(id=str(i), sha256=f"{i:064x}", phash=phash) for i, phash in enumerate([0, 0b11111])]
    assert 2 == len({row.group for row in group(rows, 4)})


def test_many_photos_are_grouped():
    """Pairs are found beyond the 512 rows that are looked at together."""
    hashes = np.random.default_rng(0).integers(0, 2**64, 1500, np.uint64).tolist()
    rows = [Row(id=str(i), sha256=f"{i:064x}", phash=phash) for i, phash in enumerate([*hashes, hashes[3]])]
    assert [(f"{3:064x}", 2)] == Counter(row.group for row in group(rows, 4)).most_common(1)


# --- shares


def test_shares():
    """2,000 random files are split 80/10/10, each class like the other, within four standard deviations."""
    rng = np.random.default_rng(0)
    phashes = rng.integers(0, 2**64, 2000, np.uint64).tolist()
    rows = [Row(str(i), rng.bytes(32).hex(), LABELS[i % 2], phash=phash) for i, phash in enumerate(phashes)]
    counts = Counter((row.label, row.split) for row in split(group(rows, BITS), 0.8))
    for label in LABELS[:2]:
        assert [0.8, 0.1, 0.1] == pytest.approx([counts[label, name] / 1000 for name in SPLITS], abs=0.05)


@pytest.mark.parametrize(
    ("first_bits", "expected"),
    [("00000000", "train"), ("cccccccc", "train"), ("cccccccd", "val"), ("e6666666", "val"), ("e6666667", "test")],
)
def test_borders(first_bits, expected):
    """The first 32 bits as a number in [0, 1): below 0.8 trains, below 0.9 validates, the rest tests."""
    assert expected == natural_split(first_bits + "f" * 56, 0.8)
