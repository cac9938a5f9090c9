"""What a peer's image is made of."""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from infra.bench import images
from infra.bench.candidates import CANDIDATES, PEERS, WEIGHTS, Candidate
from infra.bench.throughput import SERVERS
from infra.emulator.runtime import ROOT

PEERS_OF_ALL = [each for each in (*CANDIDATES, *(s.candidate for s in SERVERS.values())) if each.requirements]


@pytest.fixture
def staged_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("infra.bench.candidates.STAGED", tmp_path)
    return tmp_path


@pytest.mark.process
def test_staging_puts_the_peer_s_own_file_over_ours(staged_in: Path):
    """The same handler with another classifier."""
    own = PEERS / "torch_same_model/classifier.py"
    candidate = Candidate(
        "peer", "handler", "image", {"lambda_app": ROOT / "lambda_app", "lambda_app/classifier.py": own}
    )
    images.stage(candidate)
    assert own.read_bytes() == (staged_in / "peer/task/lambda_app/classifier.py").read_bytes()
    assert (ROOT / "lambda_app/app.py").read_bytes() == (staged_in / "peer/task/lambda_app/app.py").read_bytes()


def interface(path: Path) -> dict[str, set[str]]:
    """The methods of each class, and the fields of those that hold values."""
    classes = [node for node in ast.parse(path.read_text()).body if isinstance(node, ast.ClassDef)]
    methods = {each.name: {node.name for node in each.body if isinstance(node, ast.FunctionDef)} for each in classes}
    for each in classes:
        if each.name != "Classifier":  # what it holds is its own business
            methods[each.name] |= {node.target.id for node in each.body if isinstance(node, ast.AnnAssign)}
    return methods


def test_the_peer_s_classifier_can_stand_in_for_ours():
    """It has whatever the rest of the handler may ask for."""
    ours, theirs = ROOT / "lambda_app/classifier.py", PEERS / "torch_same_model/classifier.py"
    assert interface(ours) == interface(theirs)


@pytest.mark.process
def test_staging_again_leaves_nothing_of_before(staged_in: Path):
    """A file that was renamed does not linger in the image."""
    candidate = Candidate("peer", "handler", "image", {"imports.py": PEERS / "floor/imports.py"})
    images.stage(candidate)
    (candidate.task / "old.py").touch()
    images.stage(candidate)
    assert ["imports.py"] == [path.name for path in candidate.task.iterdir()]


@pytest.mark.parametrize("candidate", PEERS_OF_ALL, ids=lambda each: each.name)
def test_every_requirement_of_a_peer_has_a_version(candidate: Candidate):
    """Ours where we use it too: what differs is how it is used."""
    lines = images.requirements(candidate).splitlines()
    assert lines == [line for line in lines if re.fullmatch(r"[a-z0-9-]+==[\w.]+", line)]


@pytest.mark.parametrize("candidate", CANDIDATES, ids=lambda each: each.name)
def test_every_source_of_a_candidate_is_there(candidate: Candidate):
    """All but the weights, which are made before."""
    assert [] == [path for path in candidate.files.values() if not path.exists() and path.parent != WEIGHTS]


@pytest.mark.process
def test_the_weights_need_nothing_but_the_packages(tmp_path: Path):
    """In a checkout that never trained, and without a network (20 s)."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-m", "infra.bench.peers.weights", str(tmp_path)]
    subprocess.run(command, cwd=tmp_path, env=environment, check=True, capture_output=True, timeout=1200)
    assert {"ort_plain.onnx", "torch_same_model.pt", "torch_simple_cnn.pth"} <= {p.name for p in tmp_path.iterdir()}


@pytest.mark.process
def test_a_command_that_fails_says_what_it_said():
    """The end of its output, not only its code."""
    with pytest.raises(images.BuildFailed, match="no such thing"):
        images.run("sh", "-c", "echo no such thing >&2; exit 3")
