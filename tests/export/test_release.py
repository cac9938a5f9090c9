"""Test the release stage: promotion of the better file, the registry, and rollback."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import urllib.request
from contextlib import suppress
from pathlib import Path

import mlflow
import numpy as np
import pytest
from starlette.testclient import TestClient

from export.files import CANDIDATES, MODEL, REFERENCE, RELEASED
from export.learned_photos import PHOTO_COUNT
from export.registry import CHALLENGER, CHAMPION, Registry
from lambda_app.app import create_app
from lambda_app.classifier import Classifier
from lambda_app.settings import Settings
from tests.export.challengers import (
    REGISTRY,
    make_copy,
    make_int8,
    make_old_contract,
    make_wrong,
    release_file,
    run_stage,
    version_number,
)
from tests.export.untrained_models import pixels, restamp
from tests.support.waiting import wait_for_output
from training.figures import read_figures, write_figures
from training.interruption import UserError
from training.manifest import MANIFEST
from training.source import sha256

# --- first release


def test_first_file_is_released(store):
    """Without a champion a file is released, and the served file is an exact copy."""
    data, outcome = release_file(MODEL)
    assert data == RELEASED.read_bytes()
    assert [RELEASED] == list(RELEASED.parent.iterdir())
    assert ("1", None) == (version_number(CHAMPION), version_number(CHALLENGER))
    assert (True, "there was no champion") == (outcome["promoted"], outcome["reason"])


def test_version_is_tagged(store):
    """A version belongs to the run that trained it, with file hash, scores and provenance as tags."""
    release_file(MODEL)
    version, metadata = REGISTRY.find_alias(CHAMPION), Classifier.load(RELEASED).metadata
    expected = {
        "candidate": "fp32",
        "sha256": sha256(RELEASED),
        "model_version": metadata.model_version,
        "data_hash": sha256(MANIFEST),
        "git_commit": metadata.git_commit,
        "test_accuracy": "0.75",
    }
    assert expected.items() <= version.tags.items()
    assert metadata.run_id == version.run_id


def test_model_info_leads_to_the_run(store):
    """`/model/info` returns the ID of the MLflow run, whose tags contain the commit and the hash of the photos."""
    release_file(MODEL)
    with TestClient(create_app(Classifier.load(RELEASED), Settings())) as client:
        information = client.get("/model/info").json()
    tags = REGISTRY.client.get_run(information["run_id"]).data.tags
    assert (information["git_commit"], information["data_hash"]) == (tags["git_commit"], tags["data_hash"])
    assert sha256(MANIFEST) == tags["data_hash"]


def test_missing_candidate_is_an_error(store):
    """The stage fails if the selected candidate does not exist, and names the file."""
    write_figures("verify", {"selected": "int4"})
    with pytest.raises(UserError, match=r"selects 'int4', but artifacts/candidates/int4\.onnx does not exist"):
        run_stage()


# --- comparison


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
    """A challenger that is right where the champion is wrong replaces it."""
    release_file(make_wrong())
    data, outcome = release_file(MODEL)
    assert data == RELEASED.read_bytes()
    assert ("2", None) == (version_number(CHAMPION), version_number(CHALLENGER))
    assert outcome["reason"].startswith(
        "better: of 34 test photos, only the challenger is right on 34 and only the champion on 0"
    )


def test_equal_challenger_is_rejected(store):
    """A challenger with the same predictions and file size does not replace the champion."""
    champion, _ = release_file(MODEL)
    _, outcome = release_file(make_copy("2026.01.31-later"))
    assert champion == RELEASED.read_bytes()
    assert outcome["reason"].startswith("as good, but no smaller: ")


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

    def interrupt(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Registry, step, interrupt)
        with pytest.raises(KeyboardInterrupt):
            run_stage(action)
    served = RELEASED.read_bytes()
    run_stage(action)
    assert served == RELEASED.read_bytes()
    assert sha256(RELEASED) == REGISTRY.get_alias(CHAMPION).tags["sha256"]


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


def test_rejection_explains_what_is_needed(store):
    """The reason says how many photos a challenger has to gain, and that this champion cannot be beaten."""
    release_file(MODEL)
    _, outcome = release_file(make_copy("2026.01.31-later"))
    assert "be right on 5 photos that the champion gets wrong (it gets only 0 wrong; add photos)" in outcome["reason"]


def test_experiment_replaces_no_model(store, monkeypatch):
    """An experiment of DVC that wins becomes the challenger, and `--promote` serves it."""
    first, _ = release_file(make_wrong())
    monkeypatch.setenv("DVC_EXP_NAME", "shy-lamb")
    data, outcome = release_file(MODEL)
    assert (False, first) == (outcome["promoted"], RELEASED.read_bytes())
    assert outcome["reason"].startswith("an experiment never replaces the served model")
    run_stage("--promote")
    assert data == RELEASED.read_bytes()


# --- rollback


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


def find_stored_file(alias):
    """Return the path of the file of a version in the store."""
    [path] = Path(mlflow.artifacts.download_artifacts(f"models:/pet-classifier@{alias}")).glob("*.onnx")
    return path


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


# --- mlflow models serve


@pytest.fixture
def served(store):
    """Yield the address of `mlflow models serve` with the int8 champion, on a free port."""
    release_file(make_int8(), "int8")
    command = [sys.executable, "-m", "mlflow", "models", "serve", "-m", "models:/pet-classifier@champion"]
    command += ["--env-manager", "local", "--port", "0", "--workers", "1"]
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",  # contains uvicorn
        "UVICORN_PORT": "0",  # MLflow does not pass port 0 on
    }
    with Path("serve.log").open("wb") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
    try:
        # MLflow logs it once the model is loaded.
        yield wait_for_output(process, Path("serve.log"), r"Uvicorn running on (http://127\.0\.0\.1:\d+)")
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)  # MLflow starts uvicorn, which starts its worker
        process.wait()


def test_mlflow_predicts_like_the_function(served):
    """`mlflow models serve -m models:/pet-classifier@champion` returns what the file does, without the map."""
    images = pixels(3, 32)
    body = json.dumps({"inputs": {"images": images.tolist()}}).encode()
    request = urllib.request.Request(f"{served}/invocations", body, {"content-type": "application/json"})
    answer = json.load(urllib.request.urlopen(request, timeout=300))["predictions"]
    expected = Classifier.load(RELEASED).run(images)
    for name in answer.keys() | vars(expected).keys() - {"activation_map"}:
        np.testing.assert_allclose(answer[name], getattr(expected, name), rtol=1e-5, atol=1e-6)


def test_input_example_contains_no_photo(store):
    """The input example of a version is a black image of the right shape."""
    release_file(MODEL)
    model = mlflow.pyfunc.load_model("models:/pet-classifier@champion")
    assert {"images": (-1, 3, 32, 32)} == {spec.name: spec.shape for spec in model.metadata.signature.inputs}
    assert not model.input_example["images"].any()
    assert (1, 3) == model.predict(model.input_example)["probabilities"].shape


# --- file from elsewhere


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
