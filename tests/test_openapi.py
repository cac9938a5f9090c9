"""Test the documentation of the API: it is complete and correct, and loads nothing from other sites."""

import os
import re
import subprocess
import sys

import pytest
from jsonschema import Draft202012Validator
from starlette.testclient import TestClient

from infra import api_reference, documents
from infra.emulator.serve import background
from lambda_app.app import create_app
from lambda_app.settings import Settings
from tests.support import ROOT
from tests.support.routes import ROUTES
from tests.support.waiting import DEADLINE_S

EXAMPLES = 10  # of each operation, which take five seconds; 20 found nothing more


@pytest.fixture(scope="module")
def url(tiny_classifier, tmp_path_factory):
    """Yield the URL of a server that keeps all contributed photos."""
    folder = str(tmp_path_factory.mktemp("contributions"))
    settings = Settings(log_level="ERROR", contributions=folder, contributions_per_hour=1_000_000)
    with background(create_app(tiny_classifier, settings)) as url:
        yield url


@pytest.fixture(scope="module")
def document(released_classifier):
    """Return the OpenAPI document of the released model."""
    return TestClient(create_app(released_classifier, Settings())).get("/openapi.json").json()


@pytest.fixture(scope="module")
def operations(document):
    return {
        f"{method.upper()} {path}": operation
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    }


def test_every_route_is_described(operations):
    """Each route has the summary of `GET /`, one group, and a description of each response."""
    assert ROUTES == {name: operation["summary"] for name, operation in operations.items()}
    for name, operation in operations.items():
        assert 1 == len(operation["tags"]), name
        assert all(response["description"] for response in operation["responses"].values()), name


def test_every_field_has_a_description(document):
    """Each field of each request and response has a description."""
    missing = [
        f"{name}.{field}"
        for name, schema in document["components"]["schemas"].items()
        for field, definition in schema["properties"].items()
        if "description" not in definition
    ]
    assert [] == missing


def test_every_schema_has_a_valid_example(document):
    """Each schema has an example that matches it; parts of other schemas appear in the examples of those."""
    schemas = document["components"]["schemas"]
    assert {"ErrorDetail", "LoggedPrediction"} == {name for name, schema in schemas.items() if "examples" not in schema}
    for name, schema in schemas.items():
        for example in schema.get("examples", []):
            errors = Draft202012Validator({"$ref": f"#/components/schemas/{name}"} | document).iter_errors(example)
            assert [] == [error.message for error in errors]
            assert set(schema["properties"]) == set(example)


def test_schemathesis_finds_nothing(url, tmp_path):
    """All checks of Schemathesis pass: the responses are as documented."""
    hooks = {"PYTHONPATH": str(ROOT), "SCHEMATHESIS_HOOKS": "tests.support.schemathesis_hooks", "NO_PROXY": "127.0.0.1"}
    command = [sys.executable, "-m", "schemathesis.cli", "run", f"{url}/openapi.json", "--checks", "all"]
    command += ["--seed", "1", "--max-examples", str(EXAMPLES), "--no-color"]
    command += ["--suppress-health-check", "too_slow", "--request-timeout", str(DEADLINE_S)]  # of a busy machine
    done = subprocess.run(
        command, cwd=tmp_path, env=os.environ | hooks, capture_output=True, text=True, check=False, timeout=DEADLINE_S
    )
    assert 0 == done.returncode, done.stdout + done.stderr


def test_docs_allow_only_their_own_scripts(tiny_classifier):
    """The security policy names the page's script by its hash; `tests/browser` runs the page under it."""
    policy = TestClient(create_app(tiny_classifier, Settings())).get("/docs").headers["content-security-policy"]
    assert re.search(r"script-src 'self' 'sha256-[^' ]+';", policy)
    assert "unsafe" not in policy


def test_reference_in_the_api_guide_is_current(document):
    """The document that `make results` stored has the same routes, fields and errors."""
    assert api_reference.render_blocks(document) == api_reference.render_blocks(documents.read_metrics("openapi"))
