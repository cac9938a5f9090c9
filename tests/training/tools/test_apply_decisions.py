"""Test `make suspects APPLY=1`: decisions move to data/set-aside.csv, and wrong ones are errors that name the line."""

import csv
import shutil
from contextlib import chdir

import pytest

from tests.training.workspace import link_photos, rows_by_id, write_params
from training import prepare
from training.figures import read_figures
from training.interruption import UserError
from training.manifest import MANIFEST
from training.reviewed import REVIEWED
from training.tools import apply_decisions
from training.tools.suspect_list import SUSPECTS, Suspect, read_suspect_lines, write_suspects


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory, photos):
    """Return the outputs of `prepare` for 40 cats and 40 dogs."""
    folder = tmp_path_factory.mktemp("prepared")
    write_params(folder)
    link_photos(folder, photos)
    with chdir(folder):
        prepare.main()
    return folder / "artifacts"


@pytest.fixture
def listed(project, photos, artifacts):
    """Return the manifest by ID in a project whose list of suspects has four photos without a decision.

    Two are cats in the training split, two are dogs, of which the second is in the test split.
    """
    link_photos(project, photos)
    shutil.copytree(artifacts, "artifacts")
    manifest = rows_by_id()
    chosen = [row for row in manifest.values() if (row["label"], row["split"]) == ("cat", "train")][:2]
    chosen += [
        next(row for row in manifest.values() if (row["label"], row["split"]) == ("dog", s)) for s in ("train", "test")
    ]
    write_suspects(
        Suspect(
            number=number,
            kind="label",
            suggestion="dog" if row["label"] == "cat" else "cat",
            label_probability=0.1,
            suggestion_probability=0.9,
            **{key: row[key] for key in ("id", "label", "split", "sha256")},
        )
        for number, row in enumerate(chosen, 1)
    )
    return manifest


def decide(*decisions):
    """Write the decisions into the lines of the list, in order."""
    lines = read_suspect_lines()
    for line, decision in zip(lines, decisions, strict=False):
        line.row["decision"] = decision
    write_suspects([], lines)
    return [line.row["id"] for line in lines]


def test_decisions_change_the_manifest(listed, capsys):
    """A class relabels the photo, `set aside` removes it from training, and the metrics count both."""
    first, second, third, _ = decide("Dog ", "set aside: a drawing", "dogs", "")
    apply_decisions.main()
    assert "1 relabeled, 1 set aside, 1 confirmed; commit it" in capsys.readouterr().out
    prepare.main()
    changed = {name: (row["label"], row["reason"]) for name, row in rows_by_id().items() if row != listed[name]}
    assert {first: ("dog", ""), second: ("cat", "reviewed: a drawing")} == changed
    assert third not in changed
    summary = read_figures("prepare")
    assert (1, {"reviewed": 1}) == (summary["relabeled"], summary["set_aside"])
    assert ["data/set-aside.csv relabels photos: 1 from cat to dog"] == summary["notes"]


def test_applied_lines_leave_the_list(listed):
    """Lines with an applied decision are removed from the list, and the others remain."""
    names = decide("dog", "", "set aside", "")
    apply_decisions.main()
    assert [names[1], names[3]] == [line.row["id"] for line in read_suspect_lines()]
    with REVIEWED.open(newline="") as file:
        rows = {row["id"]: (row["label"], row["reason"]) for row in csv.DictReader(file)}
    assert {names[0]: ("dog", "the label was cat"), names[2]: ("", "doubtful label")} == rows


def test_earlier_reviews_are_kept(listed):
    """Rows and columns that people wrote into data/set-aside.csv stay; a new decision on a photo replaces the old."""
    _, second, *_ = decide("", "dog", "", "")
    REVIEWED.write_text(
        "sha256,id,reason,reviewer\n"
        f'{"0" * 64},other.jpg,"placeholder, no photo",me\n'
        f"{listed[second]['sha256']},{second},a drawing,me\n"
    )
    apply_decisions.main()
    assert [
        "sha256,id,reason,reviewer,label",
        f'{"0" * 64},other.jpg,"placeholder, no photo",me,',
        f"{listed[second]['sha256']},{second},the label was cat,me,dog",
    ] == REVIEWED.read_text().splitlines()


def test_photo_of_the_test_split_stays_there(listed, capsys):
    """A photo of the test split is relabeled, but not set aside, and the command says so."""
    *_, test = decide("", "", "", "set aside")
    apply_decisions.main()
    assert "1 set aside (1 of them stay in the test split)" in capsys.readouterr().out
    prepare.main()
    assert "test" == rows_by_id()[test]["split"]


def test_undecided_list_changes_nothing(listed, capsys):
    """Without a decision nothing is written, and a sentence says what to do."""
    apply_decisions.main()
    assert not REVIEWED.exists()
    assert "no decision in artifacts/suspects.csv: write a class or 'set aside'" in capsys.readouterr().out


@pytest.mark.parametrize("decision", ["horse", "set-asides", "x"])
def test_unknown_decision_is_an_error(listed, decision):
    """A decision that is neither a class nor `set aside` is an error that names the line, and nothing is written."""
    decide("dog", decision)
    before = SUSPECTS.read_bytes()
    message = f"suspects.csv, line 3: decision is '{decision}'; expected cat, dog, 'set aside', or nothing"
    with pytest.raises(UserError, match=message):
        apply_decisions.main()
    assert (before, False) == (SUSPECTS.read_bytes(), REVIEWED.exists())


def edit(old, new):
    SUSPECTS.write_text(SUSPECTS.read_text().replace(old, new))


def test_photo_that_does_not_exist_is_an_error(listed):
    """A decision on a photo that the manifest does not have is an error that names the line and the photo."""
    [first, *_] = decide("dog")
    edit(listed[first]["sha256"], "f" * 64)
    with pytest.raises(UserError, match=f"line 2: no photo has the SHA-256 'f{{64}}' \\({first}\\); delete the line"):
        apply_decisions.main()


def test_line_twice_is_an_error(listed):
    """Two decisions on one photo are an error that names both lines."""
    first, second, *_ = decide("dog", "cat")
    edit(listed[second]["sha256"], listed[first]["sha256"])
    with pytest.raises(UserError, match=r"line 3: artifacts/suspects.csv, line 2 decides on the same photo; delete"):
        apply_decisions.main()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (",decision\n", "\n", "suspects.csv begins with 'number,kind,.*; expected number,kind,"),
        (",", ";", "begins with 'number;kind"),
    ],
    ids=["no decision", "semicolons"],
)
def test_damaged_list_is_an_error(listed, old, new, message):
    """A list without one of its columns is an error that names it."""
    edit(old, new)
    with pytest.raises(UserError, match=message):
        apply_decisions.main()


@pytest.mark.parametrize("missing", [SUSPECTS, MANIFEST])
def test_missing_file_names_the_command(listed, missing):
    """Without a list, or without a manifest, the error names the command that writes it."""
    decide("dog")
    missing.unlink()
    with pytest.raises(UserError, match=f"{missing} does not exist; `make suspects` writes it"):
        apply_decisions.main()
