"""Test that models are compared only on test photos from which the champion did not learn."""

import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from export.checks.unseen_photos import select_unseen
from export.files import MODEL, RELEASED
from export.learned_photos import LEARNED, PHOTO_COUNT, LearnedPhotos
from export.registry import CHAMPION
from tests.export.challengers import REGISTRY, make_copy, make_wrong, release_file, run_stage
from tests.support import ROOT
from tests.training.workspace import write_params
from training import prepare
from training.manifest import MANIFEST, read_manifest


def hashes(split):
    return {row.sha256 for row in read_manifest() if row.split == split}


def learn(count):
    """Record that the champion learned all test photos except `count`, and half of its training photos."""
    champion, photos = REGISTRY.find_alias(CHAMPION), LearnedPhotos.from_manifest()
    val = tuple(sha256[:12] for sha256 in sorted(hashes("test"))[count:])
    replace(photos, train=photos.train[::2], val=val).store(REGISTRY, champion)


def test_other_splits_exclude_what_the_champion_learned(store):
    """After a change of the splits, photos on which the champion was trained or validated are not compared."""
    release_file(make_wrong())
    learned, tests = hashes("train") | hashes("val"), hashes("test")
    write_params(Path(), prepare__train_share=0.1, release__margin=0.05)
    prepare.main()
    moved = hashes("test") & learned
    assert moved
    _, outcome = release_file(MODEL)
    assert (len(tests), len(moved)) == (outcome["paired"]["photos"], outcome["excluded"])
    expected = f"; {len(moved)} other test photos were left out, because the champion learned them"
    assert outcome["reason"].endswith(expected)


def test_near_duplicates_are_excluded(store):
    """A test photo is excluded if the champion learned a near duplicate of it, which the manifest sets aside."""
    with MANIFEST.open(newline="") as file:
        rows = list(csv.DictReader(file))
    test = next(row for row in rows if row["split"] == "test")
    copy = test | {"id": "copy.jpg", "sha256": "a" * 64, "split": "", "reason": "duplicate of a photo in test"}
    with MANIFEST.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows([*rows, copy])
    unseen = select_unseen(LearnedPhotos("any", ("a" * 12,), ()))
    assert 1 == unseen.excluded
    assert test["id"] not in {row.id for row in unseen.rows}


def test_no_unseen_photo_keeps_the_champion(store):
    """A champion that learned all test photos stays: nothing shows that the challenger is better."""
    served, _ = release_file(make_wrong())
    learn(0)
    _, outcome = release_file(MODEL)
    assert (False, served) == (outcome["promoted"], RELEASED.read_bytes())
    assert "the champion, version 1, learned all 34 test photos; `make promote` serves" in outcome["reason"]


@pytest.mark.parametrize(("count", "promoted"), [(29, False), (30, True)])
def test_tie_on_few_photos_does_not_count(store, count, promoted):
    """An equal challenger with more photos wins only if enough test photos are new to the champion.

    Otherwise, the reason does not recommend more training photos.
    """
    release_file(MODEL)
    learn(count)
    _, outcome = release_file(make_copy("2026.01.31-later"))
    assert (promoted, count, 34 - count) == (outcome["promoted"], outcome["paired"]["photos"], outcome["excluded"])
    assert (not promoted) == ("fewer than 30 remain, so a tie does not count" in outcome["reason"])
    assert "be trained on" not in outcome["reason"]


def test_adopted_champion_keeps_its_photos(store):
    """In a checkout with an empty registry, the committed file names the photos of the served model."""
    shutil.copyfile(MODEL, RELEASED)
    LEARNED.write_text(LearnedPhotos.from_manifest().serialize())
    _, outcome = release_file(make_wrong())
    assert (0, str(len(hashes("train")))) == (outcome["excluded"], REGISTRY.find_alias(CHAMPION).tags[PHOTO_COUNT])


@pytest.mark.parametrize("text", [None, "{}", '{"data_hash": "of another model", "train": [], "val": []}'])
def test_unknown_photos_are_reported(store, text):
    """If the photos of the champion are not known, all test photos are compared, and the reason says so."""
    shutil.copyfile(MODEL, RELEASED)
    if text:
        LEARNED.write_text(text)
    _, outcome = release_file(make_wrong())
    assert (len(hashes("test")), None) == (outcome["paired"]["photos"], outcome["excluded"])
    assert "it is not known on which photos the champion was trained" in outcome["reason"]


def test_committed_file_follows_the_served_model(store):
    """Each release, rollback and manual promotion writes the photos of the served model."""
    release_file(make_wrong())
    first = LEARNED.read_text()
    assert len(hashes("train")) == len(json.loads(first)["train"])
    learn(30)
    release_file(MODEL)
    second = LEARNED.read_text()
    run_stage("--rollback")
    assert len(first) > len(LEARNED.read_text())
    run_stage("--promote")
    assert first == second == LEARNED.read_text()


def test_committed_photos_belong_to_the_committed_model(released_classifier):
    """artifacts/learned_photos.json, which is committed, belongs to the model that is committed beside it."""
    photos = LearnedPhotos.parse((ROOT / LEARNED).read_text(), released_classifier.metadata.data_hash)
    assert photos is not None
    assert not set(photos.train) & set(photos.val)
