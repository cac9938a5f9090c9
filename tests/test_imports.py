"""Who may import whom: `lambda_app` is the leaf, and serving loads nothing that only training needs."""

import ast
import base64
import json
import os
import re
import subprocess
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ROOMS = ("lambda_app", "training", "export", "infra")
PEERS = ROOT / "infra/bench/peers"
MAY_IMPORT = {
    "lambda_app": {"lambda_app"},
    "training": {"training", "lambda_app.preprocess", "lambda_app.metadata", "lambda_app.errors"},
    "export": {"export", "training", "lambda_app"},
    "infra": {"infra", "lambda_app.settings", "lambda_app.signals", "lambda_app.metadata"},
    # Programs of other images: what they share with the function, the comparison holds equal.
    "infra/bench/peers": {"infra", "lambda_app", "training.fetch", "training.model"},
}
PINNED = set(re.findall(r"^([a-z0-9-]+)==", (ROOT / "requirements-serve.txt").read_text(), re.MULTILINE))
# Pinned, yet loaded only when needed: for HEIC photos, SnapStart's snapshots, `GET /metrics`, and a deployment's hook.
LOADED_ON_DEMAND = {"pi-heif", "snapshot-restore-py", "prometheus-client"}
LOADED_BY_THE_HOOK = {"python-dateutil", "six", "urllib3"}

# The import budget: a cold start is mostly imports, so whoever adds one to these says here what for.
BUDGET = {
    "awslambdaric": {"awslambdaric", "runtime_client", "simplejson"},
    "aws_lambda_powertools": {"aws_lambda_powertools", "jmespath"},
    "botocore": {"botocore"},  # its root alone, 0.4 ms: Powertools looks whether it is there
    "fastapi": {"annotated_doc", "anyio", "fastapi", "opentelemetry", "python_multipart", "starlette"},
    "mangum": {"mangum"},
    "onnxruntime": {"numpy", "onnxruntime"},
    "pillow": {"PIL"},
    "pydantic": {"annotated_types", "pydantic", "pydantic_core", "typing_extensions", "typing_inspection"},
}
# What would be felt, or was once loaded and is not needed: prometheus_client brings five of these (14 ms of a cold
# start), AnyIO's back end comes with its threads (11 ms), boto3 takes 130 ms, torch 2,500.
NEVER = {
    *("torch", "mlflow", "onnx", "dvc", "sklearn", "pandas", "scipy", "sympy", "matplotlib"),
    *("boto3", "botocore.session"),
    *("prometheus_client", "http.server", "socketserver", "wsgiref", "urllib.request"),
    *(
        "anyio._backends._asyncio",
        "numpy.random",
        "numpy.testing",
        "PIL.ImageFont",
        "PIL.ImageCms",
        "PIL.TiffImagePlugin",
        "fastapi.telemetry._runtime",
    ),
    *("argparse", "doctest", "multiprocessing", "pdb", "pydoc", "sqlite3", "unittest", "xml"),
}

# The modules that serving has loaded after its first prediction; all that is not pinned is hidden, as in the image.
LOADED_BY_SERVING = """
import json, os, sys
before = set(sys.modules)
class NotInTheImage:
    def find_spec(name, path=None, target=None):
        if name in sys.argv[1:]:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, NotInTheImage)
import awslambdaric.bootstrap
import lambda_app.handler
assert os.environ["ORT_DISABLE_TELEMETRY"] == "1"  # or the Linux wheels would report usage to their maker
assert lambda_app.handler.handler(json.load(sys.stdin), None)["statusCode"] == 200
print("modules", *sys.modules.keys() - before)
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
def owners() -> dict[str, set[str]]:
    """Of each top-level module, the distributions that install it here."""
    return {
        module: {name.lower().replace("_", "-") for name in names} for module, names in packages_distributions().items()
    }


@pytest.fixture(scope="module")
def loaded(owners, cat_jpg) -> set[str]:
    """Modules, in a fresh interpreter."""
    hidden = [module for module, names in owners.items() if not names & PINNED]
    event = json.loads((ROOT / "tests/events/predict.json").read_text())
    event |= {"body": base64.b64encode(cat_jpg).decode(), "isBase64Encoded": True}
    event["headers"] |= {"content-type": "image/jpeg", "content-length": str(len(cat_jpg))}
    done = subprocess.run(
        [sys.executable, "-c", LOADED_BY_SERVING, *hidden],
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"},
        input=json.dumps(event),
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert (0, "") == (done.returncode, done.stderr)
    [line] = [line for line in done.stdout.splitlines() if line.startswith("modules ")]
    return set(line.split()[1:])


def test_only_the_batch_speaks_to_s3():
    """Of the modules that ship: loading botocore takes 130 ms, which the serving function has no use for."""
    package = ROOT / "lambda_app"
    source = {path.relative_to(package).as_posix(): path.read_text() for path in package.rglob("*.py")}
    clients = re.compile(r"^\s*(import|from) boto", re.MULTILINE)
    assert {"batch/handler.py"} == {name for name, text in source.items() if clients.search(text)}
    assert {"batch/handler.py"} == {name for name, text in source.items() if "lambda_app.batch" in text}


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_a_room_imports_only_what_it_may(room):
    """The table of the design, file by file."""
    allowed = MAY_IMPORT[room]
    strangers = {
        (str(path.relative_to(ROOT)), name)
        for path in (ROOT / room).rglob("*.py")
        if (PEERS in path.parents) == (ROOT / room == PEERS)
        for name in imported(path)
        if not any(name == one or name.startswith(f"{one}.") for one in allowed)
    }
    assert set() == strangers


def test_serving_keeps_its_import_budget(loaded):
    """No package beyond the reviewed ones is loaded to start and to classify the first photo, and none too many."""
    tops = {module.split(".")[0] for module in loaded} - sys.stdlib_module_names - {"lambda_app"}
    assert set().union(*BUDGET.values()) == {top for top in tops if not top.startswith("_sysconfigdata")}


def test_serving_never_loads_what_is_expensive(loaded):
    """Not even by way of a dependency."""
    assert set() == NEVER & loaded


def test_serving_requirements_are_exactly_what_serving_loads(loaded, owners):
    """Every pinned distribution is loaded; that no other is needed is shown by having hidden all others."""
    distributions = set().union(*(owners.get(module, set()) for module in loaded))
    assert PINNED - LOADED_ON_DEMAND - LOADED_BY_THE_HOOK == distributions & PINNED


def test_every_serving_requirement_has_a_hash():
    """Nothing is installed that was not reviewed."""
    text = (ROOT / "requirements-serve.txt").read_text()
    entries = re.split(r"\n(?=[a-z])", text[text.index("\nannotated") + 1 :])
    assert all("--hash=sha256:" in entry for entry in entries)
