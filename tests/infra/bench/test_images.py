"""Test staging, requirements and sources of the images of the peers."""

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
from infra.emulator.process import CommandFailed, run_command
from tests.support import ROOT
from tests.support.waiting import DEADLINE_S

ALL_PEERS = [each for each in (*CANDIDATES, *(s.candidate for s in SERVERS.values())) if each.requirements]


@pytest.fixture
def stage_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder that candidates are staged in."""
    monkeypatch.setattr("infra.bench.candidates.STAGED", tmp_path)
    return tmp_path


@pytest.mark.process
def test_staging_overrides_files_of_lambda_app(stage_folder: Path):
    """A peer can replace the classifier and keep the rest of the function."""
    own = PEERS / "torch_same_model/classifier.py"
    candidate = Candidate(
        "peer", "handler", "image", {"lambda_app": ROOT / "lambda_app", "lambda_app/classifier.py": own}
    )
    images.stage(candidate)
    assert own.read_bytes() == (stage_folder / "peer/task/lambda_app/classifier.py").read_bytes()
    assert (ROOT / "lambda_app/app.py").read_bytes() == (stage_folder / "peer/task/lambda_app/app.py").read_bytes()


def read_interface(path: Path) -> dict[str, set[str]]:
    """Return the methods of each class, and the fields of all classes except Classifier."""
    classes = [node for node in ast.parse(path.read_text()).body if isinstance(node, ast.ClassDef)]
    methods = {each.name: {node.name for node in each.body if isinstance(node, ast.FunctionDef)} for each in classes}
    for each in classes:
        if each.name != "Classifier":  # its fields are private
            methods[each.name] |= {node.target.id for node in each.body if isinstance(node, ast.AnnAssign)}
    return methods


def read_constants(path: Path) -> set[str]:
    assignments = [node for node in ast.parse(path.read_text()).body if isinstance(node, ast.Assign)]
    return {target.id for node in assignments for target in node.targets if isinstance(target, ast.Name)}


def test_peer_classifier_has_the_same_interface():
    """The classifier of the peer has all classes, methods, fields and constants that the function uses."""
    function, peer = ROOT / "lambda_app/classifier.py", PEERS / "torch_same_model/classifier.py"
    assert read_interface(function) == read_interface(peer)
    imported = {
        alias.name
        for path in (ROOT / "lambda_app").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom) and node.module == "lambda_app.classifier"
        for alias in node.names
    }
    assert "Classifier" in imported
    assert imported <= read_interface(peer).keys() | read_constants(peer)


@pytest.mark.process
def test_staging_removes_old_files(stage_folder: Path):
    """Files of an earlier staging do not remain."""
    candidate = Candidate("peer", "handler", "image", {"imports.py": PEERS / "floor/imports.py"})
    images.stage(candidate)
    (candidate.task / "old.py").touch()
    images.stage(candidate)
    assert ["imports.py"] == [path.name for path in candidate.task.iterdir()]


@pytest.mark.parametrize("candidate", ALL_PEERS, ids=lambda each: each.name)
def test_peer_requirements_are_pinned(candidate: Candidate):
    """Every requirement of a peer has an exact version."""
    lines = images.pin_requirements(candidate).splitlines()
    assert lines == [line for line in lines if re.fullmatch(r"[a-z0-9-]+==[\w.]+", line)]


@pytest.mark.parametrize("candidate", CANDIDATES, ids=lambda each: each.name)
def test_candidate_sources_exist(candidate: Candidate):
    """Every source of a candidate exists, except for weights, which are generated."""
    assert [] == [path for path in candidate.files.values() if not path.exists() and path.parent != WEIGHTS]


@pytest.mark.process
def test_weights_need_no_training_and_no_network(tmp_path: Path):
    """The weights are made in an empty folder without a network. Takes 20 s."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-m", "infra.bench.peers.weights", str(tmp_path)]
    subprocess.run(command, cwd=tmp_path, env=environment, check=True, capture_output=True, timeout=DEADLINE_S)
    assert {"ort_plain.onnx", "torch_same_model.pt", "torch_simple_cnn.pth"} <= {p.name for p in tmp_path.iterdir()}


@pytest.mark.process
def test_failed_command_reports_its_output():
    """The error contains the end of standard error."""
    with pytest.raises(CommandFailed, match="no such thing"):
        run_command("sh", "-c", "echo no such thing >&2; exit 3")


@pytest.mark.process
def test_size_of_an_image_that_cannot_be_saved_is_an_error():
    """A failed `docker save` does not count as an image of 0 MB."""
    with pytest.raises(CommandFailed):
        images.compressed_mb("no-such-image:none")
