"""Check which packages may import each other, what serving imports, and that file names are unique."""

import ast
import json
import os
import subprocess
import sys
from collections import Counter
from datetime import UTC, datetime
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from infra.emulator.event import predict_request, to_event
from tests.support import ROOT
from tests.support.serving_requirements import PINNED
from tests.support.waiting import DEADLINE_S

PACKAGES = ("lambda_app", "training", "export", "infra")
PEERS = ROOT / "infra/bench/peers"
MAY_IMPORT = {
    "lambda_app": {"lambda_app"},
    "training": {
        "training",
        "lambda_app.preprocess",
        "lambda_app.metadata",
        "lambda_app.errors",
        "lambda_app.contributions.contribution",  # the keys of contributed photos, which `make forget` deletes
    },
    "export": {"export", "training", "lambda_app"},
    "infra": {
        "infra",
        "lambda_app.settings",
        "lambda_app.signals",
        "lambda_app.metadata",
        "lambda_app.telemetry.fields",
    },
    # Programs in images of their own. They share code with the function so that the comparison is fair.
    "infra/bench/peers": {"infra", "lambda_app", "training.fetch", "training.model"},
    "infra/bench/programs": {"infra", "lambda_app"},  # they measure parts of the function
}
# File names that several modules still share. Rename them and remove them from here; never add one.
SHARED_NAMES = {"handler.py"}
# Pinned but loaded on demand: for HEIC photos, SnapStart's snapshots, `GET /metrics`, and the deployment hook.
LOADED_ON_DEMAND = {"fastapi-swagger", "pi-heif", "snapshot-restore-py", "prometheus-client"}
LOADED_BY_HOOK = {"botocore", "python-dateutil", "six", "urllib3"}
LOADED_BY_BATCH = {"aws-lambda-powertools", "jmespath"}

# The import budget. Imports take most of a cold start, so each package needs a reason to be here.
BUDGET = {
    "awslambdaric": {"awslambdaric", "runtime_client", "simplejson"},
    "fastapi": {"annotated_doc", "anyio", "fastapi", "opentelemetry", "python_multipart", "starlette"},
    "mangum": {"mangum"},
    "onnxruntime": {"numpy", "onnxruntime"},
    "pillow": {"PIL"},
    "pydantic": {"annotated_types", "pydantic", "pydantic_core", "typing_extensions", "typing_inspection"},
}
# Modules that are slow to import, or were once imported without need. prometheus_client imports five of these (14 ms of
# a cold start), AnyIO's threads import its back end (11 ms), boto3 takes 130 ms and torch 2,500 ms.
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
        "PIL.PngImagePlugin",
        "PIL.AvifImagePlugin",
        "PIL.GifImagePlugin",
        "PIL.TiffImagePlugin",
        "pi_heif",
        "fastapi.telemetry._runtime",
        "lambda_app.explanation",
    ),
    *("argparse", "doctest", "multiprocessing", "pdb", "pydoc", "sqlite3", "unittest", "xml"),
}

SET_BY_SERVING = {"ORT_DISABLE_TELEMETRY", "OPENBLAS_NUM_THREADS"}
# Prints the modules that serving has loaded after its first prediction. It hides the packages that are not pinned,
# because the image does not have them.
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
assert os.environ["ORT_DISABLE_TELEMETRY"] == "1"  # otherwise, the Linux wheels report usage to Microsoft
assert len(os.listdir("/proc/self/task")) == 1, "an import started threads, as OpenBLAS's does"
assert lambda_app.handler.handler(json.load(sys.stdin), None)["statusCode"] == 200
print("modules", *sys.modules.keys() - before)
"""


def imported(path: Path) -> set[str]:
    """Return the modules of this repository that a file imports."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names if node.module in PACKAGES}
    return {name for name in names if name.split(".")[0] in PACKAGES and name not in PACKAGES}


@pytest.fixture(scope="module")
def distributions_by_module() -> dict[str, set[str]]:
    """Return the distributions that install each top-level module in this environment."""
    return {
        module: {name.lower().replace("_", "-") for name in names} for module, names in packages_distributions().items()
    }


@pytest.fixture(scope="module")
def loaded(distributions_by_module) -> set[str]:
    """Return the modules that serving loads in a fresh interpreter."""
    return load_serving(distributions_by_module)


def load_serving(distributions_by_module: dict[str, set[str]], **variables: str) -> set[str]:
    """Return the modules that serving with these variables loads for a prediction."""
    hidden = [module for module, names in distributions_by_module.items() if not names & PINNED.keys()]
    event = to_event(predict_request(ROOT / "data/samples/cat.jpg"), request_id="r", now=datetime.now(UTC))
    done = subprocess.run(
        [sys.executable, "-c", LOADED_BY_SERVING, *hidden],
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if name not in SET_BY_SERVING} | variables,
        input=json.dumps(event),
        capture_output=True,
        text=True,
        check=False,
        timeout=DEADLINE_S,
    )
    assert (0, "") == (done.returncode, done.stderr)
    [line] = [line for line in done.stdout.splitlines() if line.startswith("modules ")]
    return set(line.split()[1:])


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_package_imports_only_what_it_may(package):
    """Every file of a package keeps to `MAY_IMPORT`."""
    violations = {
        (str(path.relative_to(ROOT)), name)
        for path in (ROOT / package).rglob("*.py")
        if package == max((each for each in MAY_IMPORT if ROOT / each in path.parents), key=len)
        for name in imported(path)
        if not any(name == allowed or name.startswith(f"{allowed}.") for allowed in MAY_IMPORT[package])
    }
    assert set() == violations


def test_pipeline_imports_no_experiment():
    """No stage of dvc.yaml runs an experiment, and outside `export/experiments/`, no module imports one."""
    assert "experiments" not in (ROOT / "dvc.yaml").read_text()
    files = [path for package in ("training", "export") for path in (ROOT / package).rglob("*.py")]
    stages = [path for path in files if path.parent.name != "experiments"]
    assert set() == {name for path in stages for name in imported(path) if name.startswith("export.experiments")}


def test_only_training_and_conversion_need_pytorch():
    """Fetching photos, quantizing, releasing, the card and the drift reference start without its seconds of imports."""
    modules = ("training.fetch", "export.quantize", "export.release", "export.card", "export.drift_reference")
    program = f"import sys, {', '.join(modules)}; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "False\n" == done.stdout


def test_module_names_are_unique():
    """No two modules share a file name. Tests are exempt, because they are named after their modules."""
    paths = [path for package in (*PACKAGES, "tests") for path in (ROOT / package).rglob("*.py")]
    names = Counter(
        path.name
        for path in paths
        if not path.name.startswith(("__", "conftest.", "test_")) and PEERS not in path.parents
    )
    assert set() == {name for name, count in names.items() if count > 1} - SHARED_NAMES


def test_serving_keeps_its_import_budget(loaded):
    """Starting and classifying the first photo imports exactly the packages of `BUDGET`."""
    tops = {module.split(".")[0] for module in loaded} - sys.stdlib_module_names - {"lambda_app"}
    assert set().union(*BUDGET.values()) == {top for top in tops if not top.startswith("_sysconfigdata")}


def test_serving_never_imports_expensive_modules(loaded):
    """Serving loads no module of `NEVER`, not even through a dependency."""
    assert set() == NEVER & loaded


def test_serving_without_contributions_does_not_import_them(loaded):
    """By default, serving imports nothing of `lambda_app.contributions`."""
    assert [] == [module for module in loaded if module.startswith("lambda_app.contributions")]


def test_contributions_cost_no_client_until_the_first_photo(loaded, distributions_by_module):
    """With a bucket, the start and a prediction import no further package than without one, and no AWS client."""
    more = load_serving(distributions_by_module, CONTRIBUTIONS="s3://bucket") - loaded
    assert "lambda_app.contributions.stores" in more
    assert set() == NEVER & more
    assert set() == {module.split(".")[0] for module in more} - {"lambda_app"} - sys.stdlib_module_names


def test_serving_requirements_are_exactly_what_serving_loads(loaded, distributions_by_module):
    """Every pinned distribution is loaded. No other is needed, because the fixture hides all others."""
    distributions = set().union(*(distributions_by_module.get(module, set()) for module in loaded))
    assert PINNED.keys() - LOADED_ON_DEMAND - LOADED_BY_HOOK - LOADED_BY_BATCH == distributions & PINNED.keys()
