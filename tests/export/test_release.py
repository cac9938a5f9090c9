"""Release: a file serves if it wins, MLflow knows which one it is and gives it back, and there is a way back."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from contextlib import suppress
from pathlib import Path

import mlflow
import numpy as np
import onnx
import pytest
from starlette.testclient import TestClient

from export.convert import MODEL
from export.registry import CHALLENGER, CHAMPION, RegistryError
from export.release import CANDIDATES, CARD, METRICS, RELEASED, VERIFIED, ReleaseError
from lambda_app.app import create_app
from lambda_app.classifier import Classifier
from lambda_app.settings import Settings
from tests.export.challengers import REGISTRY, again, int8, number, released, run, wrong
from tests.export.models import pixels, restamp
from training.prepare import MANIFEST
from training.source import sha256

# --- the first


def test_first(store):
    """Without a champion a file is released: it serves, byte for byte, and nothing else lies beside it."""
    data, outcome = released(MODEL)
    assert data == RELEASED.read_bytes()
    assert [RELEASED] == list(RELEASED.parent.iterdir())
    assert ("1", None) == (number(CHAMPION), number(CHALLENGER))
    assert (True, "there was no champion") == (outcome["promoted"], outcome["reason"])


def test_tags(store):
    """A version says which file it is, what it scored, and what it was made from, in the run that trained it."""
    released(MODEL)
    version, metadata = REGISTRY.holder(CHAMPION), Classifier.load(RELEASED).metadata
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


def test_leads_back(store):
    """From what /model/info answers one gets to the MLflow run, and from its tags to the commit and the photos."""
    released(MODEL)
    with TestClient(create_app(Classifier.load(RELEASED), Settings())) as client:
        information = client.get("/model/info").json()
    tags = REGISTRY.client.get_run(information["run_id"]).data.tags
    assert (information["git_commit"], information["data_hash"]) == (tags["git_commit"], tags["data_hash"])
    assert sha256(MANIFEST) == tags["data_hash"]


def test_nothing_verified(store):
    """A file that verify did not write is not released; the message names it."""
    VERIFIED.write_text(json.dumps({"released": "int4"}))
    with pytest.raises(ReleaseError, match=r"released: 'int4', and artifacts/candidates/int4.onnx is no file"):
        run()


# --- the challenge


def test_worse(store, capsys):
    """A challenger that loses changes neither the served file nor the champion, and the stage says why in figures."""
    champion, _ = released(MODEL)
    _, outcome = released(wrong())
    assert champion == RELEASED.read_bytes()
    assert ("1", "2") == (number(CHAMPION), number(CHALLENGER))
    assert {"photos": 34, "gained": 0, "lost": 34}.items() <= outcome["paired"].items()
    assert (False, 0.0, 1.0) == (outcome["promoted"], outcome["accuracy"], outcome["champion"]["accuracy"])
    assert f"IS NOT PROMOTED: {outcome['reason']}" in capsys.readouterr().out


def test_better(store):
    """A challenger that is right where the champion is wrong takes its place."""
    released(wrong())
    data, outcome = released(MODEL)
    assert data == RELEASED.read_bytes()
    assert ("2", None) == (number(CHAMPION), number(CHALLENGER))
    assert outcome["reason"].startswith("better: of 34 test photos 34 are right with the challenger alone, 0 with")


def test_tie(store):
    """One that answers the same in as large a file does not: the champion has served."""
    champion, _ = released(MODEL)
    _, outcome = released(again("2026.01.31-later"))
    assert champion == RELEASED.read_bytes()
    assert outcome["reason"].startswith("as good, but no smaller: ")


def test_smaller(store):
    """One that answers as well from a smaller file does."""
    released(MODEL)
    data, outcome = released(int8(), "int8")
    assert data == RELEASED.read_bytes()
    assert outcome["reason"].startswith("as good and smaller: ")
    assert "int8" == REGISTRY.holder(CHAMPION).tags["candidate"]


def test_other_classes(store):
    """A champion of other classes cannot be asked the same, and is replaced."""
    path = again("2026.01.30-other")
    restamp(path, class_names=["apple", "pear", "plum"])
    released(path)
    data, outcome = released(MODEL)
    assert data == RELEASED.read_bytes()
    assert "the champion, version 1, does not answer with the same classes" == outcome["reason"]


def test_champion_of_an_older_contract(store):
    """A champion that today's serving code cannot ask is replaced, and the outcome says so."""
    released(wrong())
    first, path = REGISTRY.holder(CHAMPION), stored(CHAMPION)
    program = onnx.load(path)
    del program.graph.output[2]
    onnx.save(program, path)
    REGISTRY.tag(first, "sha256", sha256(path))
    data, outcome = released(MODEL)
    assert data == RELEASED.read_bytes()
    assert "today's serving code cannot ask the champion, version 1" == outcome["reason"]


def test_no_memory_for_the_champion(store, monkeypatch):
    """Where memory is short nobody is compared, and so nobody is promoted. ONNX Runtime's error is a pretended one."""
    champion, _ = released(wrong())
    load = Classifier.load

    def short(path):
        if path.parent != CANDIDATES:
            raise RuntimeError("std::bad_alloc")
        return load(path)

    monkeypatch.setattr(Classifier, "load", short)
    with pytest.raises(MemoryError, match="too little memory to load"):
        released(MODEL)
    assert champion == RELEASED.read_bytes()


def test_uncommitted(store, capsys):
    """Of a file that no commit leads back to, the stage says so."""
    path = again("2026.01.29-dirty")
    restamp(path, git_commit="0123abc-dirty")
    released(path)
    assert "trained with changes that were not committed: 0123abc-dirty" in capsys.readouterr().out


def test_same_file(store):
    """A file that was released before is no new version, and its outcome is told again."""
    _, first = released(MODEL)
    RELEASED.unlink()
    data, second = released(MODEL)
    assert first == second
    assert data == RELEASED.read_bytes()
    assert 1 == len(REGISTRY.client.search_model_versions("name = 'pet-classifier'"))


def test_adopted(store):
    """The served file of a checkout whose store is empty is the first champion: it can win, and serve again."""
    shutil.copyfile(MODEL, RELEASED)
    served = RELEASED.read_bytes()
    _, outcome = released(wrong())
    assert (False, served) == (outcome["promoted"], RELEASED.read_bytes())
    released(int8(), "int8")
    run("--rollback")
    assert served == RELEASED.read_bytes()


@pytest.mark.parametrize("content", [b"", b"no model", "older"])
def test_not_adopted(store, content):
    """What today's serving code cannot ask is no champion, and is replaced."""
    if content == "older":
        program = onnx.load(MODEL)
        del program.graph.output[2]
        content = program.SerializeToString()
    RELEASED.write_bytes(content)
    data, outcome = released(MODEL)
    assert data == RELEASED.read_bytes()
    assert "there was no champion" == outcome["reason"]


# --- the way back


def test_rollback(store, capsys):
    """The champion before serves again, byte for byte; the one that failed is the challenger."""
    first, _ = released(wrong())
    released(MODEL)
    run("--rollback")
    assert first == RELEASED.read_bytes()
    assert ("1", "2") == (number(CHAMPION), number(CHALLENGER))
    assert "(version 2) to " in capsys.readouterr().out.splitlines()[-1]


def test_rollback_twice(store):
    """One can go back as far as there were champions."""
    first, _ = released(wrong())
    released(MODEL)
    released(int8(), "int8")
    run("--rollback")
    run("--rollback")
    assert first == RELEASED.read_bytes()
    with pytest.raises(RegistryError, match="version 1 took nobody's place: there is no way back"):
        run("--rollback")


def test_rollback_lasts(store):
    """The file that was rolled back is not promoted by the next run of the pipeline, whatever it scores."""
    first, _ = released(wrong())
    released(MODEL)
    run("--rollback")
    _, outcome = released(MODEL)
    assert (False, first) == (outcome["promoted"], RELEASED.read_bytes())
    assert re.match(r"it was rolled back on \d{4}-\d\d-\d\d \d\d:\d\d UTC; `make promote`", outcome["reason"])


def test_rollback_brings_the_card(store):
    """The model card goes back with the model that it is about."""
    released(wrong())
    REGISTRY.tag(REGISTRY.holder(CHAMPION), "card", "of the first")
    released(MODEL)
    CARD.write_text("of the second")
    run("--rollback")
    assert "of the first" == CARD.read_text()


@pytest.mark.parametrize("argument", ["--rollback", "--promote"])
def test_nobody(store, argument):
    """Where nothing was released there is nothing to go back from, and nothing to promote."""
    with pytest.raises(RegistryError, match=r"has no (champion|challenger)"):
        run(argument)


def test_promote(store):
    """A person may overrule the figures; the record says so."""
    released(MODEL)
    data, outcome = released(wrong())
    run("--promote")
    assert data == RELEASED.read_bytes()
    assert ("2", None) == (number(CHAMPION), number(CHALLENGER))
    assert f"by hand, after: {outcome['reason']}" == json.loads(METRICS.read_text())["reason"]


def test_promote_undoes_rollback(store):
    """The model that was rolled back serves again, and the pipeline leaves it there."""
    released(wrong())
    data, _ = released(MODEL)
    run("--rollback")
    run("--promote")
    assert data == RELEASED.read_bytes()
    assert released(MODEL)[1]["promoted"]


def stored(alias):
    """Where the store keeps the file of a version."""
    [path] = Path(mlflow.artifacts.download_artifacts(f"models:/pet-classifier@{alias}")).glob("*.onnx")
    return path


def test_damaged(store):
    """A stored file that is not the registered one is not served."""
    released(wrong())
    path = stored(CHAMPION)
    data, _ = released(MODEL)
    path.write_bytes(b"other")
    with pytest.raises(RegistryError, match=r"models:/pet-classifier/1/model.onnx has SHA-256 \w+; expected \w+"):
        run("--rollback")
    assert data == RELEASED.read_bytes()


def test_older_contract(store):
    """Nor is one that today's serving code cannot ask."""
    released(wrong())
    first, path = REGISTRY.holder(CHAMPION), stored(CHAMPION)
    data, _ = released(MODEL)
    program = onnx.load(path)
    del program.graph.output[2]
    onnx.save(program, path)
    REGISTRY.tag(first, "sha256", sha256(path))
    with pytest.raises(ReleaseError, match="version 1 cannot serve: it is older than its contract"):
        run("--rollback")
    assert [RELEASED] == list(RELEASED.parent.iterdir())
    assert data == RELEASED.read_bytes()


# --- MLflow serves it too


LISTENS = re.compile(r"Uvicorn running on (http://127\.0\.0\.1:\d+)")


@pytest.fixture
def served(store):
    """The address of `mlflow models serve` with the int8 champion, on a port that the system chose."""
    released(int8(), "int8")
    command = [sys.executable, "-m", "mlflow", "models", "serve", "-m", "models:/pet-classifier@champion"]
    command += ["--env-manager", "local", "--port", "0", "--workers", "1"]
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",  # where uvicorn is
        "UVICORN_PORT": "0",  # MLflow passes on any port but this one
    }
    with Path("serve.log").open("wb") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
    try:
        yield address(process, Path("serve.log"))
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)  # MLflow starts uvicorn, and that its worker
        process.wait()


def address(process, log):
    """Wait until the server has written its address to the log; it listens by then, and the model is loaded."""
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline and process.poll() is None:
        if found := LISTENS.search(log.read_text()):
            return found[1]
        time.sleep(0.1)
    pytest.fail(f"mlflow models serve does not answer:\n{log.read_text()[-2000:]}")


def test_mlflow_serves(served):
    """`mlflow models serve -m models:/pet-classifier@champion` answers with what the function would say."""
    images = pixels(3, 32)
    body = json.dumps({"inputs": {"images": images.tolist()}}).encode()
    request = urllib.request.Request(f"{served}/invocations", body, {"content-type": "application/json"})
    answer = json.load(urllib.request.urlopen(request, timeout=300))["predictions"]
    expected = Classifier.load(RELEASED).run(images)
    for name, values in vars(expected).items():
        np.testing.assert_allclose(answer[name], values, rtol=1e-5, atol=1e-6)


def test_input_example(store):
    """A version carries an input that fits: a black square, no photo."""
    released(MODEL)
    model = mlflow.pyfunc.load_model("models:/pet-classifier@champion")
    assert {"images": (-1, 3, 32, 32)} == {spec.name: spec.shape for spec in model.metadata.signature.inputs}
    assert not model.input_example["images"].any()
    assert (1, 3) == model.predict(model.input_example)["probabilities"].shape
