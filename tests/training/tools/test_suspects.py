"""Test the list of suspects: photos are listed by a rule, with a suggestion, and decisions of people are kept."""

from contextlib import chdir

import numpy as np
import pytest

from tests.support.drawing import write_dataset
from tests.training.workspace import link_photos, write_params
from training import prepare
from training.interruption import UserError
from training.manifest import read_manifest
from training.predictions import Predictions
from training.reviewed import Review
from training.split import Row
from training.tools import suspects
from training.tools.suspect_list import SUSPECTS, Suspect, read_suspect_lines
from training.tools.suspect_sheet import SHEET
from training.tools.suspects import (
    class_probabilities,
    find_suspects,
    find_unfamiliar,
    number_undecided,
)

NAMES = ["cat", "dog", "rabbit"]
MISLABELED = {"dog/cat 0.jpg", "dog/cat 1.jpg", "dog/cat 2.jpg"}


def write_project(folder, mislabeled):
    """Write a project with 40 cats and 40 dogs of which some cats are among the dogs, and prepare its photos.

    The network is logistic regression on a thumbnail.
    """
    write_params(folder, train__architecture="logistic")
    photos = write_dataset(folder / "photos", {"cat": 40 + mislabeled, "dog": 40})
    for seed in range(mislabeled):
        (photos / f"cat/{seed}.jpg").rename(photos / f"dog/cat {seed}.jpg")
    link_photos(folder, photos)
    with chdir(folder):
        prepare.main()
    return folder


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    """Return a project after the search, with three cats among the dogs."""
    folder = write_project(tmp_path_factory.mktemp("searched"), 3)
    with chdir(folder):
        suspects.main()
    return folder


@pytest.fixture
def in_searched(searched, monkeypatch):
    """Return the project after the search; the test may change its files."""
    monkeypatch.chdir(searched)
    before = SUSPECTS.read_bytes()
    yield searched
    SUSPECTS.write_bytes(before)


def read():
    return [line.row for line in read_suspect_lines()]


def decide(row, decision, path=SUSPECTS):
    """Write a decision into the line of one photo."""
    lines = path.read_text().splitlines()
    path.write_text("".join(f"{line}{decision}\n" if row["sha256"] in line else f"{line}\n" for line in lines))


# --- the list


def test_mislabeled_drawings_are_listed_with_their_class(in_searched):
    """The list has exactly the three cats among the dogs of 83 photos, and suggests `cat`."""
    assert {(name, "label", "dog", "cat") for name in MISLABELED} == {
        (row["id"], row["kind"], row["label"], row["suggestion"]) for row in read()
    }


def test_list_has_hash_split_and_an_empty_decision(in_searched):
    """Each line has hash and split of the manifest, a number, and no decision."""
    manifest = {row.id: (row.sha256, row.split) for row in read_manifest()}
    rows = read()
    assert [manifest[row["id"]] for row in rows] == [(row["sha256"], row["split"]) for row in rows]
    assert [("1", ""), ("2", ""), ("3", "")] == [(row["number"], row["decision"]) for row in rows]


def test_suggestion_is_more_probable_than_the_label(in_searched):
    """The probabilities of label and suggestion are listed; the largest difference comes first."""
    differences = [float(row["suggestion_probability"]) - float(row["label_probability"]) for row in read()]
    assert sorted(differences, reverse=True) == differences
    assert min(differences) > 0


def test_clean_photos_give_an_empty_list(tmp_path, monkeypatch, capsys):
    """Without a wrong label, the list is empty, there is no picture, and a sentence says so."""
    monkeypatch.chdir(write_project(tmp_path, 0))
    SHEET.touch()  # of an earlier list
    suspects.main()
    assert [] == read()
    assert not SHEET.exists()
    assert "none of the 80 photos is suspicious\n" in capsys.readouterr().out


# --- decisions


def test_second_search_keeps_decisions(in_searched, capsys):
    """A line with a decision stays as it is; the others are offered again."""
    first = read()[1]
    decide(first, "set aside: drawing")
    suspects.main()
    rows = read()
    assert [first | {"decision": "set aside: drawing"}] == [row for row in rows if row["decision"]]
    assert MISLABELED == {row["id"] for row in rows}
    assert ["1", "2"] == [row["number"] for row in rows if not row["decision"]]
    assert "has 1 decisions that are not applied yet" in capsys.readouterr().out


def test_decided_photos_are_not_offered_again(in_searched, monkeypatch):
    """A photo in data/set-aside.csv is not listed, whatever was decided."""
    rows = read()
    monkeypatch.setattr(
        suspects, "read_reviewed", lambda: {rows[0]["sha256"]: Review("", ""), rows[1]["sha256"]: Review("dog", "")}
    )
    suspects.main()
    assert [rows[2]["id"]] == [row["id"] for row in read()]


def test_invalid_list_stops_the_search_at_the_start(in_searched, monkeypatch):
    """A list with two decisions on one photo is an error before the photos are read."""
    monkeypatch.setattr(suspects, "read_manifest", None)
    decide(read()[0], "cat")
    line = next(line for line in SUSPECTS.read_text().splitlines() if line.endswith(",cat"))
    SUSPECTS.write_text(f"{SUSPECTS.read_text()}{line}\n")
    with pytest.raises(UserError, match=r"line 5: artifacts/suspects.csv, line 2 decides on the same photo"):
        suspects.main()


def test_copies_are_offered_once():
    """Only the first of several files with the same bytes is offered, since one decision applies to all of them."""
    listed = [
        Suspect(
            number=0,
            kind="label",
            id=f"{name}.jpg",
            label="dog",
            suggestion="cat",
            label_probability=0.1,
            suggestion_probability=0.9,
            split="train",
            sha256=sha,
        )
        for name, sha in zip("abc", "xxy", strict=True)
    ]
    assert [(1, "a.jpg"), (2, "c.jpg")] == [(s.number, s.id) for s in number_undecided(listed, set())]
    assert ["c.jpg"] == [s.id for s in number_undecided(listed, {"x"})]


# --- the rules


def features_of(labels, noise=2.0):
    """Return features around a random center per class."""
    rng = np.random.default_rng(0)
    centers = rng.normal(size=(labels.max() + 1, 1280))  # as many as EfficientNet-Lite0 has
    return centers[labels] + noise * rng.normal(size=(len(labels), 1280))


def rows_of(labels, names):
    return [Row(f"{i}.jpg", label=names[label], split="train", sha256=f"{i:064x}") for i, label in enumerate(labels)]


@pytest.mark.parametrize("classes", [2, 37])
def test_wrong_labels_are_found_among_few_photos(classes):
    """With 20 photos of each class, most wrong labels are found with the right suggestion, and no others."""
    truth = np.repeat(np.arange(classes), 20)
    given = truth.copy()
    wrong = np.arange(0, len(truth), 20)  # one of each class
    given[wrong] = (truth[wrong] + 1) % classes
    probabilities = class_probabilities(features_of(truth), given, [str(i) for i in range(len(truth))])
    names = [f"class {i}" for i in range(classes)]
    found = {
        int(s.id.removesuffix(".jpg")): s.suggestion
        for s in find_suspects(rows_of(given, names), names, probabilities, np.zeros(len(truth)))
    }
    assert {i: names[truth[i]] for i in found} == found
    assert found.keys() <= set(wrong)
    assert len(found) >= len(wrong) / 2


def test_duplicates_are_judged_without_each_other():
    """Copies of a photo share a fold, so that a wrong label on all copies is found."""
    labels = np.repeat([0, 1], 30)
    features = features_of(labels)
    features[:5] = features[-1]  # five copies of a photo of class 1, labeled 0
    groups = ["copies"] * 5 + [str(i) for i in range(5, 60)]
    groups[-1] = "copies"
    assert class_probabilities(features, labels, groups)[:5, 0].max() < 0.5


@pytest.mark.filterwarnings("ignore:The least populated class")
@pytest.mark.parametrize("labels", [[0, 0, 0, 1, 1, 1], [0, 0, 0, 0, 1], [0, 0, 0, 0, 1, 2]])
def test_fewer_groups_than_folds_give_probabilities(labels):
    """Classes with fewer groups of duplicates than folds are judged by fewer folds."""
    labels = np.array(labels)
    probabilities = class_probabilities(features_of(labels), labels, [str(i) for i in range(len(labels))])
    assert probabilities.sum(axis=1) == pytest.approx(1)


def test_least_probable_labels_are_listed():
    """As many photos are listed as another class claims with the mean of its own; the least probable labels count."""
    certain, doubtful, claimed = [0.98, 0.01, 0.01], [0.2, 0.6, 0.2], [0.25, 0.65, 0.1]
    probabilities = np.array([certain] * 4 + [doubtful] * 4 + [claimed, [0.55, 0.35, 0.1]] + [[0, 0, 1]] * 4)
    labels = [0] * 4 + [1] * 4 + [0, 2] + [2] * 4
    found = find_suspects(rows_of(labels, NAMES), NAMES, probabilities, np.zeros(len(labels)))
    assert [("9.jpg", "cat")] == [(suspect.id, suspect.suggestion) for suspect in found]


def test_unfamiliar_photo_is_suggested_for_setting_aside():
    """Photos of none of the classes are of kind `unknown`, even if the label is improbable; the strangest is first."""
    probabilities = np.array([[0.9, 0.1], [0.9, 0.1], [0.1, 0.9], [0.95, 0.05]])
    unfamiliar = np.array([0, 0.7, 0, 0.8])
    found = find_suspects(rows_of([0, 0, 1, 1], NAMES), NAMES[:2], probabilities, unfamiliar)
    assert [("3.jpg", "unknown", "set aside", 0.8), ("1.jpg", "unknown", "set aside", 0.7)] == [
        (suspect.id, suspect.kind, suspect.suggestion, suspect.suggestion_probability) for suspect in found
    ]


def predict_pretraining(classes, doubt):
    """Return frozen logits (N, 1000): each photo shows one class of the pretraining; `doubt` is of all others."""
    return Predictions(
        np.zeros((len(classes), 1), np.float32),
        np.log(np.where(np.eye(1000)[classes] > 0, 1 - doubt, doubt / 999)).astype(np.float32),
        np.arange(len(classes)) % 2,
    )


@pytest.mark.parametrize(("pictures", "expected"), [([], []), ([9], [60]), ([9, 9], [60, 61])])
def test_photo_of_another_class_of_the_pretraining_is_unfamiliar(pictures, expected):
    """Among 60 photos of three classes of the pretraining, a photo of a fourth one is unfamiliar, with its copy."""
    groups = [*map(str, range(60)), *("other" for _ in pictures)]
    unfamiliar = find_unfamiliar(predict_pretraining([0, 1, 2] * 20 + pictures, 0.2), groups)
    assert expected == np.flatnonzero(unfamiliar).tolist()


def test_photos_are_not_judged_without_pretraining():
    """Without a frozen head, no photo is unfamiliar."""
    baseline = Predictions(np.zeros((6, 1), np.float32), np.zeros((6, 0), np.float32), np.arange(6) % 2)
    assert [0] * 6 == find_unfamiliar(baseline, list("abcdef")).tolist()
