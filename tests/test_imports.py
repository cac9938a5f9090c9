"""Who may import whom: `lambda_app` is the leaf, and serving loads nothing that only training needs."""

import ast
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ROOMS = ("lambda_app", "training", "export", "infra")
MAY_IMPORT = {
    "lambda_app": {"lambda_app"},
    "training": {"training", "lambda_app.preprocess", "lambda_app.errors"},
    "export": {"export", "training", "lambda_app"},
    "infra": {"infra", "lambda_app.settings"},
}
# Pinned, yet loaded only by what it is there for: awslambdaric restores SnapStart snapshots with it.
LOADED_ON_DEMAND = {"snapshot-restore-py"}
# ONNX Runtime and AnyIO declare them; importing the handler shows that serving does without.
LEFT_OUT = {"flatbuffers", "idna", "packaging", "protobuf"}

LOADED_BY_SERVING = """
import json, sys
import awslambdaric.bootstrap
import lambda_app.handler
from importlib.metadata import packages_distributions
tops = {name.split(".")[0] for name in sys.modules}
owners = packages_distributions()
print(json.dumps([sorted(tops), sorted({d.lower().replace("_", "-") for t in tops for d in owners.get(t, [])})]))
"""


def imported(path: Path) -> set[str]:
    """Every module of ours that a file imports, with its room."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names if node.module in ROOMS}
    return {name for name in found if name.split(".")[0] in ROOMS and name not in ROOMS}


@pytest.fixture(scope="module")
def loaded() -> tuple[set[str], set[str]]:
    """Modules and distributions, in a fresh interpreter."""
    done = subprocess.run(
        [sys.executable, "-c", LOADED_BY_SERVING], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
    )
    modules, distributions = json.loads(done.stdout)
    return set(modules), set(distributions)


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_only_what_it_may(room):
    """The table of the design, file by file."""
    allowed = MAY_IMPORT[room]
    strangers = {
        (str(path.relative_to(ROOT)), name)
        for path in (ROOT / room).rglob("*.py")
        for name in imported(path)
        if not any(name == one or name.startswith(f"{one}.") for one in allowed)
    }
    assert set() == strangers


@pytest.mark.parametrize("module", ["torch", "mlflow", "onnx", "dvc", "sklearn", "pandas", "boto3", "scipy", "sympy"])
def test_serving_loads_no_training_library(loaded, module):
    """Not even by way of a dependency."""
    modules, _ = loaded
    assert module not in modules


def test_serving_requirements_are_exactly_what_serving_loads(loaded):
    """Every pinned distribution is loaded by the handler; that no other is needed, the image shows."""
    _, distributions = loaded
    pinned = set(re.findall(r"^([a-z0-9-]+)==", (ROOT / "requirements-serve.txt").read_text(), re.MULTILINE))
    assert pinned - LOADED_ON_DEMAND == (distributions & pinned)
    assert set() == LEFT_OUT & distributions


def test_every_serving_requirement_has_a_hash():
    """Nothing is installed that was not reviewed."""
    text = (ROOT / "requirements-serve.txt").read_text()
    entries = re.split(r"\n(?=[a-z])", text[text.index("\nannotated") + 1 :])
    assert all("--hash=sha256:" in entry for entry in entries)


def test_onnx_runtimes_own_telemetry_is_off():
    """The Linux wheels report usage to their maker unless told otherwise before the import."""
    code = "import lambda_app.handler, os; print(os.environ['ORT_DISABLE_TELEMETRY'])"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
    )
    assert ("1\n", "") == (done.stdout, done.stderr)
