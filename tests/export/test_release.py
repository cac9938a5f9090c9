"""Test the release stage: comparison with the champion, and promotion of the better file."""

import shutil

import pytest

from export.files import CANDIDATES, MODEL, RELEASED
from export.learned_photos import PHOTO_COUNT
from export.registry import CHALLENGER, CHAMPION
from lambda_app.classifier import Classifier
from tests.export.challengers import (
    REGISTRY,
    find_stored_file,
    make_copy,
    make_int8,
    make_old_contract,
    make_wrong,
    release_file,
    run_stage,
    version_number,
)
from tests.export.untrained_models import restamp
from training.figures import read_figures, write_figures
from training.interruption import UserError
from training.source import sha256


def test_first_file_is_released(in_released):
    """Without a champion a file is released, and the served file is an exact copy."""
    outcome = read_figures("release")
    assert MODEL.read_bytes() == RELEASED.read_bytes()
    assert [RELEASED] == list(RELEASED.parent.iterdir())
    assert ("1", None) == (version_number(CHAMPION), version_number(CHALLENGER))
    assert (True, "there was no champion") == (outcome["promoted"], outcome["reason"])


def test_missing_candidate_is_an_error(store):
    """The stage fails if the selected candidate does not exist, and names the file."""
    write_figures("verify", {"selected": "int4"})
    with pytest.raises(UserError, match=r"selects 'int4', but artifacts/candidates/int4\.onnx does not exist"):
        run_stage()


def test_worse_challenger_is_rejected(store, capsys):
    """A challenger that loses changes neither served file nor champion, and the stage prints the figures."""
    champion, _ = release_file(MODEL)
    _, outcome = release_file(make_wrong())
    assert champion == RELEASED.read_bytes()
    assert ("1", "2") == (version_number(CHAMPION), version_number(CHALLENGER))
    assert {"photos": 34, "gained": 0, "lost": 34}.items() <= outcome["paired"].items()
    assert (False, 0.0, 1.0) == (outcome["promoted"], outcome["accuracy"], outcome["champion"]["accuracy"])
    assert f"IS NOT PROMOTED: {outcome['reason']}" in capsys.readouterr().out


def test_better_challenger_is_promoted(store):
    """A challenger that is right where the champion is wrong replaces it; no test photo is left out."""
    release_file(make_wrong())
    data, outcome = release_file(MODEL)
    assert data == RELEASED.read_bytes()
    assert ("2", None) == (version_number(CHAMPION), version_number(CHALLENGER))
    assert outcome["reason"].startswith(
        "better: of 34 test photos, only the challenger is right on 34 and only the champion on 0"
    )
    assert (34, 0) == (outcome["paired"]["photos"], outcome["excluded"])
    assert outcome["reason"].endswith("counts as smaller)")


def test_equal_challenger_is_rejected(store):
    """A challenger with the same predictions and file size is rejected, and the reason says what it would need."""
    champion, _ = release_file(MODEL)
    _, outcome = release_file(make_copy("2026.01.31-later"))
    assert champion == RELEASED.read_bytes()
    assert outcome["reason"].startswith("as good, but no smaller: ")
    assert "be right on 5 photos that the champion gets wrong (it gets only 0 wrong; add photos)" in outcome["reason"]
    assert "be trained on" in outcome["reason"]


def test_smaller_challenger_is_promoted(store):
    """A challenger that is as accurate in a smaller file replaces the champion."""
    release_file(MODEL)
    data, outcome = release_file(make_int8(), "int8")
    assert data == RELEASED.read_bytes()
    assert outcome["reason"].startswith("as good and smaller: ")
    assert "int8" == REGISTRY.find_alias(CHAMPION).tags["candidate"]


def test_champion_of_other_classes_is_replaced(store):
    """A champion with other classes cannot be compared and is replaced."""
    path = make_copy("2026.01.30-other")
    restamp(path, class_names=["apple", "pear", "plum"])
    release_file(path)
    data, outcome = release_file(MODEL)
    assert data == RELEASED.read_bytes()
    assert "the champion, version 1, has other classes" == outcome["reason"]


def test_champion_of_an_old_contract_is_replaced(store):
    """A champion that the serving code cannot load is replaced, and the outcome contains the reason."""
    release_file(make_wrong())
    first, path = REGISTRY.find_alias(CHAMPION), find_stored_file(CHAMPION)
    path.write_bytes(make_old_contract(path))
    REGISTRY.tag(first, "sha256", sha256(path))
    shutil.copyfile(path, RELEASED)
    data, outcome = release_file(MODEL)
    assert data == RELEASED.read_bytes()
    assert "the serving code cannot load the champion, version 1" == outcome["reason"]


def test_lack_of_memory_promotes_nothing(store, monkeypatch):
    """The stage fails if memory runs out while the champion loads. ONNX Runtime's error is simulated."""
    champion, _ = release_file(make_wrong())
    load = Classifier.load

    def load_short_of_memory(path):
        if path.parent != CANDIDATES:
            raise RuntimeError("std::bad_alloc")
        return load(path)

    monkeypatch.setattr(Classifier, "load", load_short_of_memory)
    with pytest.raises(MemoryError, match="too little memory to load"):
        release_file(MODEL)
    assert champion == RELEASED.read_bytes()


def test_uncommitted_changes_are_reported(store, capsys):
    """The stage prints a warning if the file was trained with uncommitted changes."""
    path = make_copy("2026.01.29-dirty")
    restamp(path, git_commit="0123abc-dirty")
    release_file(path)
    assert "trained with uncommitted changes (0123abc-dirty)" in capsys.readouterr().out


def test_same_file_makes_no_new_version(store):
    """Releasing the same file again creates no new version and repeats the outcome."""
    _, first = release_file(MODEL)
    RELEASED.unlink()
    data, second = release_file(MODEL)
    assert first == second
    assert data == RELEASED.read_bytes()
    assert 1 == len(REGISTRY.client.search_model_versions("name = 'pet-classifier'"))


def test_served_file_is_adopted(store):
    """The served file of a checkout with an empty registry is the first champion, and a rollback restores it."""
    shutil.copyfile(MODEL, RELEASED)
    served = RELEASED.read_bytes()
    _, outcome = release_file(make_wrong())
    assert (False, served) == (outcome["promoted"], RELEASED.read_bytes())
    release_file(make_int8(), "int8")
    run_stage("--rollback")
    assert served == RELEASED.read_bytes()


def test_file_from_elsewhere_is_adopted(store):
    """A served file that is not this registry's champion, such as one from Git, is what challengers must beat."""
    release_file(make_wrong())
    served = shutil.copyfile(MODEL, RELEASED).read_bytes()
    _, outcome = release_file(make_copy("2026.01.31-later"))
    assert (False, served) == (outcome["promoted"], RELEASED.read_bytes())
    assert "as good, but no smaller" in outcome["reason"]
    assert sha256(RELEASED) == REGISTRY.get_alias(CHAMPION).tags["sha256"]


def test_rejected_file_that_another_machine_promoted_serves(store):
    """If Git brings a file that lost here, it is the champion and not the challenger, and the outcome states this."""
    release_file(MODEL)
    rejected, _ = release_file(make_wrong())
    RELEASED.write_bytes(rejected)
    _, outcome = release_file(make_wrong())
    assert (True, "it is the champion") == (outcome["promoted"], outcome["reason"])
    assert ("2", None) == (version_number(CHAMPION), version_number(CHALLENGER))


@pytest.mark.parametrize("content", [b"", b"no model", None])
def test_invalid_served_file_is_replaced(store, content):
    """A served file that the serving code cannot load is not adopted, and is replaced."""
    RELEASED.write_bytes(make_old_contract() if content is None else content)
    data, outcome = release_file(MODEL)
    assert data == RELEASED.read_bytes()
    assert "there was no champion" == outcome["reason"]


def test_equal_challenger_with_more_photos_is_promoted(store):
    """A challenger that is no worse and was trained on a tenth more photos than the champion replaces it."""
    release_file(MODEL)
    champion = REGISTRY.find_alias(CHAMPION)
    REGISTRY.tag(champion, PHOTO_COUNT, str(int(champion.tags[PHOTO_COUNT]) // 2))
    _, outcome = release_file(make_copy("2026.01.31-later"))
    assert outcome["promoted"]
    assert outcome["reason"].startswith("no worse, and trained on 1")


def test_experiment_replaces_no_model(store, monkeypatch):
    """An experiment of DVC that wins becomes the challenger, and `--promote` serves it."""
    first, _ = release_file(make_wrong())
    monkeypatch.setenv("DVC_EXP_NAME", "shy-lamb")
    data, outcome = release_file(MODEL)
    assert (False, first) == (outcome["promoted"], RELEASED.read_bytes())
    assert outcome["reason"].startswith("an experiment never replaces the served model")
    run_stage("--promote")
    assert data == RELEASED.read_bytes()
