"""Test rollback and manual promotion."""

import json
import re
import shutil
from unittest.mock import Mock

import pytest

from export.files import MODEL, REFERENCE, RELEASED
from export.registry import CHALLENGER, CHAMPION, Registry
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
from training.figures import read_figures
from training.interruption import UserError
from training.source import sha256


def test_rollback_restores_the_drift_reference(store):
    """A rollback restores the drift reference of the previous champion."""
    release_file(make_wrong())
    reference = json.dumps({"model_version": REGISTRY.find_alias(CHAMPION).tags["model_version"]})
    REFERENCE.write_text(reference)
    release_file(make_copy("2026.01.31-later"))
    REFERENCE.write_text("{}")
    run_stage("--rollback")
    assert reference == REFERENCE.read_text()


def test_rollback_restores_the_previous_champion(store, capsys):
    """The previous champion serves again, byte for byte, and the other one becomes the challenger."""
    first, _ = release_file(make_wrong())
    release_file(MODEL)
    run_stage("--rollback")
    assert first == RELEASED.read_bytes()
    assert ("1", "2") == (version_number(CHAMPION), version_number(CHALLENGER))
    assert "(version 2) to " in capsys.readouterr().out.splitlines()[-1]
    outcome = read_figures("release")
    assert not outcome["promoted"]
    assert outcome["reason"].startswith("it was rolled back; better")


def test_rollback_ends_at_the_first_champion(store):
    """Each rollback goes back one champion; at the first one it fails."""
    first, _ = release_file(make_wrong())
    release_file(MODEL)
    release_file(make_int8(), "int8")
    run_stage("--rollback")
    run_stage("--rollback")
    assert first == RELEASED.read_bytes()
    with pytest.raises(UserError, match="version 1 replaced no other version; nothing to roll back to"):
        run_stage("--rollback")


def test_rollback_lasts(store):
    """The next run of the pipeline does not promote a file that was rolled back, whatever its scores."""
    first, _ = release_file(make_wrong())
    release_file(MODEL)
    run_stage("--rollback")
    _, outcome = release_file(MODEL)
    assert (False, first) == (outcome["promoted"], RELEASED.read_bytes())
    assert re.match(r"it was rolled back on \d{4}-\d\d-\d\d \d\d:\d\d UTC; run `make promote`", outcome["reason"])


@pytest.mark.parametrize(("argument", "alias"), [("--rollback", "champion"), ("--promote", "challenger")])
def test_actions_need_a_version(store, argument, alias):
    """A rollback needs a champion, and a promotion a challenger."""
    with pytest.raises(UserError, match=f"has no {alias}"):
        run_stage(argument)


def test_promote_overrules_the_comparison(store):
    """`--promote` serves the rejected challenger, and the outcome records it."""
    release_file(MODEL)
    data, outcome = release_file(make_wrong())
    run_stage("--promote")
    assert data == RELEASED.read_bytes()
    assert ("2", None) == (version_number(CHAMPION), version_number(CHALLENGER))
    assert f"promoted manually; the earlier outcome was: {outcome['reason']}" == read_figures("release")["reason"]


def test_promote_undoes_rollback(store):
    """`--promote` after a rollback restores the model, and the next run of the pipeline keeps it."""
    release_file(make_wrong())
    data, _ = release_file(MODEL)
    run_stage("--rollback")
    run_stage("--promote")
    assert data == RELEASED.read_bytes()
    assert release_file(MODEL)[1]["promoted"]


def test_damaged_file_is_not_served(store):
    """A rollback fails if the stored file differs from the registered one."""
    release_file(make_wrong())
    path = find_stored_file(CHAMPION)
    data, _ = release_file(MODEL)
    path.write_bytes(b"other")
    with pytest.raises(UserError, match=r"models:/pet-classifier/1/model.onnx has SHA-256 \w+; expected \w+"):
        run_stage("--rollback")
    assert data == RELEASED.read_bytes()


def test_file_of_an_old_contract_is_not_served(store):
    """A rollback fails if the serving code cannot load the previous champion."""
    release_file(make_wrong())
    first, path = REGISTRY.find_alias(CHAMPION), find_stored_file(CHAMPION)
    data, _ = release_file(MODEL)
    path.write_bytes(make_old_contract(path))
    REGISTRY.tag(first, "sha256", sha256(path))
    with pytest.raises(UserError, match="serving code cannot load pet-classifier version 1"):
        run_stage("--rollback")
    assert [RELEASED] == list(RELEASED.parent.iterdir())
    assert data == RELEASED.read_bytes()


def test_file_from_elsewhere_can_be_promoted_after_a_rollback(store):
    """`--promote` serves a file again that Git brought and that a rollback replaced."""
    release_file(MODEL)
    served = shutil.copyfile(make_wrong(), RELEASED).read_bytes()
    run_stage("--rollback")
    assert served != RELEASED.read_bytes()
    run_stage("--promote")
    assert served == RELEASED.read_bytes()


def test_adopted_file_is_named_after_its_candidate(store):
    """If the file that serves is the selected candidate, the outcome names the candidate."""
    shutil.copyfile(MODEL, RELEASED)
    _, outcome = release_file(MODEL)
    assert (True, "fp32") == (outcome["promoted"], outcome["candidate"])


def test_manual_promotion_and_rollback_know_the_file_from_elsewhere(store):
    """A rollback after a manual promotion restores the file that served, even if another machine released it."""
    release_file(MODEL)
    release_file(make_wrong())  # the challenger
    served = shutil.copyfile(make_copy("2026.01.31-later"), RELEASED).read_bytes()
    run_stage("--promote")
    assert served != RELEASED.read_bytes()
    run_stage("--rollback")
    assert served == RELEASED.read_bytes()
    run_stage("--rollback")
    assert MODEL.read_bytes() == RELEASED.read_bytes()


@pytest.mark.parametrize(("action", "step"), [("--rollback", "roll_back"), ("--promote", "promote")])
def test_interrupted_action_is_completed(store, monkeypatch, action, step):
    """An action that was interrupted after it replaced the served file ends with the same file when it is repeated."""
    release_file(make_wrong() if action == "--rollback" else MODEL)
    release_file(MODEL if action == "--rollback" else make_wrong())
    with monkeypatch.context() as patch:
        patch.setattr(Registry, step, Mock(side_effect=KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            run_stage(action)
    served = RELEASED.read_bytes()
    run_stage(action)
    assert served == RELEASED.read_bytes()
    assert sha256(RELEASED) == REGISTRY.get_alias(CHAMPION).tags["sha256"]
