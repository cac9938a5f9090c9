"""Test `make accept`: the versions of the data set, the ledger of hashes, and the rules against poisoning."""

import csv
import re
import shutil
import subprocess
from pathlib import Path
from unittest.mock import Mock

import pytest
from dvc.repo import Repo

from tests.support import ROOT
from tests.support.drawing import draw, encode_image
from tests.training.harvest.contributions import OUT, SOURCE, accepted, contribute, put, request_id, review, save_review
from training.harvest.__main__ import harvest
from training.harvest.accept import accept, is_held_back, main
from training.harvest.contributed_photo import HarvestError
from training.harvest.data_set import CONTRIBUTIONS, read_folder_labels
from training.harvest.decisions import PROPOSALS, read_decisions
from training.harvest.ledger import LEDGER, check_recorded, hash_request, read_ledger


def test_accepted_photos_become_class_folders(checkout, capsys):
    """File names are hashes, in the folder of the class that the reviewer confirmed; DVC tracks the folder."""
    hashes = contribute(range(500, 504))
    review()
    main(["--out", str(OUT)])
    assert {f"{sha256}.jpg" for sha256 in hashes} == {path.name for path in CONTRIBUTIONS.rglob("cat/*.jpg")}
    assert "outs:" in Path("data/contributions.dvc").read_text()
    assert "accepted 4 photos" in capsys.readouterr().out
    command = ["git", "status", "--porcelain", "--untracked-files=all", "data"]
    status = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    assert ["?? data/contributions.csv", "?? data/contributions.dvc"] == status


def test_reviewer_relabels(checkout):
    """A photo whose label the reviewer changes goes to the folder of the new class."""
    [sha256] = contribute([500])
    review(label="dog")
    accept(OUT)
    assert [("dog", sha256)] == [(label, Path(path).stem) for path, label in read_folder_labels(CONTRIBUTIONS).items()]


def test_a_tenth_is_held_back(checkout, monkeypatch):
    """Photos with high hashes go to the held-back folders, one for corrected and one for confirmed photos."""
    monkeypatch.setattr("training.harvest.accept.HELD_BACK_SHARE", 0.5)
    corrected, confirmed = contribute(range(500, 506)), contribute(range(506, 512), prediction="cat")
    review()
    accept(OUT)
    expected = {
        f"{part if is_held_back(sha256) else 'accepted'}/cat/{sha256}.jpg"
        for part, hashes in (("held-back/corrected", corrected), ("held-back/confirmed", confirmed))
        for sha256 in hashes
    }
    assert expected == set(read_folder_labels(CONTRIBUTIONS))
    assert {"accepted", "held-back"} == {path.split("/")[0] for path in expected}


@pytest.mark.parametrize(("first_digits", "held"), [("00000000", False), ("e6666665", False), ("e6666667", True)])
def test_hash_decides_what_is_held_back(first_digits, held):
    """The tenth with the highest hashes is held back."""
    assert held == is_held_back(first_digits + "0" * 56)


def test_ledger_has_only_hashes(checkout):
    """The committed file has the hashes of photo and request and the decision: no request ID, no time, no label."""
    [sha256] = contribute([500])
    review()
    accept(OUT)
    with LEDGER.open(newline="") as file:
        assert [["photo", "request", "decision", "md5"], [sha256, hash_request(request_id(500)), "accepted", ""]] == [
            *csv.reader(file)
        ]


def test_data_set_does_not_reveal_contributors(checkout):
    """Neither a file of the data set nor the ledger contains a request ID or the time of a contribution."""
    contribute(range(500, 503))
    review()
    accept(OUT)
    tracked = [LEDGER, Path("data/contributions.dvc"), *CONTRIBUTIONS.rglob("*.*")]
    content = b"".join(path.read_bytes() + str(path).encode() for path in tracked)
    assert not any(request_id(seed).encode() in content for seed in range(500, 503))
    assert b"2026-01-02T03:04:05" not in content
    assert {".jpg"} == {path.suffix for path in CONTRIBUTIONS.rglob("*.*")}


@pytest.mark.parametrize("decision", ["accept", "reject"])
def test_decided_photos_are_not_harvested_again(checkout, decision):
    """Accepted and rejected photos are not downloaded by the next harvest."""
    contribute(range(500, 503))
    review(decision)
    accept(OUT)
    shutil.rmtree(OUT)
    assert [] == harvest(SOURCE, OUT)
    assert [] == list(OUT.rglob("*.jpg"))


def test_held_photos_return(checkout):
    """A held photo is in no file of the project, and the next harvest shows it again."""
    hashes = contribute(range(500, 503))
    review("hold")
    accept(OUT)
    assert (set(), set()) == (read_ledger(), accepted())
    assert set(hashes) == {candidate.sha256 for candidate in harvest(SOURCE, OUT)}


def test_near_duplicates_of_accepted_photos_are_rejected(checkout):
    """A recompressed copy of an accepted photo is rejected as a duplicate."""
    contribute([500])
    review()
    accept(OUT)
    put(encode_image(draw("cat", 500), quality=60), "cat", "dog", 1)
    [candidate] = harvest(SOURCE, OUT)
    assert ("reject", "duplicate of a training photo of cat") == (candidate.decision, candidate.reason)


def test_dropping_a_version_undoes_a_review(checkout):
    """With the pointer of the previous version, DVC restores only the photos of the first review."""
    first = contribute(range(500, 503))
    review()
    accept(OUT)
    files = {path: path.read_bytes() for path in (Path("data/contributions.dvc"), LEDGER)}
    second = contribute(range(503, 506))
    review()
    accept(OUT)
    assert {*first, *second} == accepted()
    for path, data in files.items():
        path.write_bytes(data)
    with Repo() as repo:
        repo.checkout(["data/contributions.dvc"])
    assert set(first) == accepted()
    assert set(second) == {candidate.sha256 for candidate in harvest(SOURCE, Path("again"))}


def test_reverted_commit_without_checkout_is_refused(checkout):
    """If photos remain that the ledger does not list, nothing is accepted or trained on."""
    contribute([500])
    review()
    accept(OUT)
    LEDGER.unlink()
    with pytest.raises(HarvestError, match=r"has 1 photos that data/contributions.csv does not list as accepted"):
        check_recorded()


@pytest.mark.parametrize(("decision", "label"), [("reject", "cat"), ("accept", "dog")])
def test_decision_may_change_after_an_interruption(checkout, monkeypatch, decision, label):
    """A photo that an interrupted command copied follows the last decision and label."""
    [sha256] = contribute([500])
    review()
    with monkeypatch.context() as patch:
        patch.setattr("training.harvest.accept.write_ledger", Mock(side_effect=KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            accept(OUT)
    assert {sha256} == accepted()
    save_review(OUT, decision=decision, label=label)
    accept(OUT)
    expected = [label] if decision == "accept" else []
    assert expected == list(read_folder_labels(CONTRIBUTIONS).values())
    check_recorded()


def test_damaged_ledger_is_refused(tmp_path):
    """A line of the ledger without all values, such as a mark of a merge conflict, is an error that names the line."""
    path = tmp_path / "contributions.csv"
    path.write_text("photo,request,decision,md5\n<<<<<<< HEAD\n")
    with pytest.raises(HarvestError, match=r"contributions\.csv, line 2: expected 4 values"):
        read_ledger(path)


def test_incomplete_folder_is_refused(checkout):
    """If earlier accepted photos are missing, nothing is accepted, because the new version would lack them."""
    contribute([500])
    review()
    accept(OUT)
    shutil.rmtree(CONTRIBUTIONS)
    contribute([501])
    review()
    with pytest.raises(HarvestError, match=r"lacks 1 of 1 accepted photos.*`make dvc-pull` first"):
        accept(OUT)
    assert 1 == len(read_ledger())


def test_replaced_photo_is_refused(checkout):
    """A photo that was changed after the review is not accepted."""
    contribute([500])
    review()
    [path] = OUT.rglob("*.jpg")
    path.write_bytes(b"other")
    with pytest.raises(HarvestError, match=re.escape(f"{path} is missing or was changed")):
        accept(OUT)


def test_proposals_need_a_review(checkout, capsys):
    """Proposals without a saved review are not accepted; the error names the file, the page and the option."""
    contribute(range(500, 512))
    harvest(SOURCE, OUT)
    proposed = {row.sha256 for row in read_decisions(OUT, PROPOSALS) if row.decision == "accept"}
    message = f"review/decisions.csv is unchanged since `make harvest` wrote it, and accepts {len(proposed)} photos; "
    with pytest.raises(HarvestError, match=rf"{message}.*review/review.html.*`make accept OUT=review UNCHANGED=1`"):
        main(["--out", str(OUT)])
    assert (set(), set()) == (read_ledger(), accepted())
    main(["--out", str(OUT), "--unchanged"])
    assert proposed == accepted()
    main(["--out", str(OUT)])  # nothing is left to decide
    assert capsys.readouterr().out.endswith("accepted 0 photos (0 held back), rejected 0\n")


def test_make_passes_the_option(tmp_path):
    """`make accept` accepts unchanged proposals only with UNCHANGED=1."""
    command = ["make", "--dry-run", f"--directory={tmp_path}", f"--file={ROOT / 'Makefile'}", "--old-file=.venv/.train"]
    for variables, expected in (["UNCHANGED=1"], True), ([], False):
        printed = subprocess.run([*command, "accept", *variables], check=True, capture_output=True, text=True).stdout
        assert expected == ("--unchanged" in printed)


def test_review_that_changes_nothing_is_a_review(checkout):
    """A saved file that agrees with all proposals is accepted; another harvest with new photos needs a review again."""
    first = contribute([500])
    review()
    contribute(range(501, 512))
    harvest(SOURCE, OUT)
    with pytest.raises(HarvestError, match="is unchanged since `make harvest` wrote it"):
        accept(OUT)
    save_review(OUT)
    accept(OUT)
    assert {*first} <= accepted()
