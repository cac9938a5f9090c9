"""Test the smoke test against services with one fault: only the rows that concern the fault fail."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp

from infra.emulator.response import HttpResponse
from infra.smoke import __main__ as command
from infra.smoke.checks import ERRORS, METRIC_TYPES
from infra.smoke.golden import Golden
from lambda_app.app import create_app
from lambda_app.classifier import Classifier
from lambda_app.settings import Settings
from tests.infra.smoke.faulty_services import HEALTH, Change, changed, edited, page, smoke_app

pytestmark = pytest.mark.slow

GOLDEN = Golden.read()
PREDICTIONS = {f"POST /predict {photo}{way}" for photo in GOLDEN.photos for way in ("", " in a form")}
ALL_ERRORS = {f"{status} {code}: {name}" for name, (status, code, _) in ERRORS.items()}


def at(path: str, edit: Callable[[HttpResponse], HttpResponse]) -> Change:
    """Return a fault that changes the successful responses of one path."""
    return lambda requested, response: edit(response) if (requested, response.status) == (path, 200) else response


def on_errors(edit: Callable[[HttpResponse], HttpResponse]) -> Change:
    """Return a fault that changes every error response."""
    return lambda _, response: edit(response) if response.status >= 400 else response


def body_of(edit: Callable[[dict[str, Any]], Any]) -> Callable[[HttpResponse], HttpResponse]:
    return lambda response: edited(response, edit)


def swap(body: dict[str, Any]) -> None:
    names = body["probabilities"]
    body["probabilities"] = dict(zip(names, reversed(names.values()), strict=True))


def move(body: dict[str, Any]) -> None:
    body["probabilities"] = {name: value + 0.002 for name, value in body["probabilities"].items()}


def older_everywhere(_: str, response: HttpResponse) -> HttpResponse:
    return replace(response, body=response.body.replace(GOLDEN.model_version.encode(), b"old"))


def crash(_: str, response: HttpResponse) -> HttpResponse:
    return response if response.status != 422 else page(response, "Internal Server Error", 500, "text/plain")


def parked_domain(_: str, response: HttpResponse) -> HttpResponse:
    return page(response, "<html>This domain is for sale</html>")


def redirect(_: str, response: HttpResponse) -> HttpResponse:
    return replace(response, status=301, headers=(("location", "https://example.org"),), body=b"")


STACK_TRACE = 'Traceback (most recent call last):\n  File "/var/task/app.py", line 3'
CONSTANT_METRICS = "".join(f"# TYPE {name} {kind}\n" for name, kind in METRIC_TYPES.items())
CONSTANT_METRICS += 'prediction_requests_total{predicted_class="cat"} 7.0\n'
FAULTS: dict[str, tuple[Change, set[str]]] = {
    "older model": (at("/model/info", body_of(lambda body: body.update(model_version="old"))), {"GET /model/info"}),
    "older model everywhere": (older_everywhere, {"GET /", "GET /model/info", "GET /openapi.json", *PREDICTIONS}),
    "other classes": (at("/model/info", body_of(lambda body: body["class_names"].reverse())), {"GET /model/info"}),
    "swapped probabilities": (at("/predict", body_of(swap)), PREDICTIONS),
    "slightly different probabilities": (at("/predict", body_of(move)), PREDICTIONS),
    "never unknown": (
        at("/predict", body_of(lambda body: body.update(unknown=False))),
        {name for name in PREDICTIONS if "neither" in name},
    ),
    "other shape of errors": (
        on_errors(lambda response: page(response, '{"detail": "no"}', response.status, "application/json")),
        ALL_ERRORS,
    ),
    "error without request ID": (on_errors(body_of(lambda body: body["error"].pop("request_id"))), ALL_ERRORS),
    "stack trace": (on_errors(body_of(lambda body: body["error"].update(message=STACK_TRACE))), ALL_ERRORS),
    "crash": (crash, {"422 damaged_image: a truncated photo"}),
    "no metrics": (
        at("/metrics", lambda response: page(response, "{}", 404)),
        {"GET routes", "GET /metrics", "GET /metrics counts"},
    ),
    "unlisted route": (at("/", body_of(lambda body: body["routes"].pop("GET /docs"))), {"GET /"}),
    "page instead of metrics": (
        at("/metrics", lambda response: page(response, "<html>Welcome!</html>")),
        {"GET /metrics", "GET /metrics counts"},
    ),
    "constant metrics": (
        at("/metrics", lambda response: page(response, CONSTANT_METRICS, kind="text/plain")),
        {"GET /metrics counts"},
    ),
    "other API": (at("/openapi.json", body_of(lambda body: body["paths"].pop("/predict"))), {"GET /openapi.json"}),
    "JSON as HTML": (
        at("/model/info", lambda response: page(response, response.body.decode())),
        {"GET /model/info"},
    ),
    "parked domain": (parked_domain, HEALTH),
    "redirect": (redirect, HEALTH),
    "no model": (at("/health", body_of(lambda body: body.update(model_loaded=False))), HEALTH),
}


@pytest.mark.parametrize(("fault", "failed"), FAULTS.values(), ids=FAULTS)
def test_fault_fails_its_own_rows(released: ASGIApp, tmp_path: Path, fault, failed: set[str]) -> None:
    """Each fault fails exactly its own rows and exits with 1; after the health check fails, no other check runs."""
    result = smoke_app(changed(released, fault), tmp_path, "--wait", "0.3")
    assert (1, failed) == (result.code, result.failed)
    assert HEALTH != failed or HEALTH == result.rows.keys()


@pytest.mark.parametrize(
    ("option", "given"), [("--commit", "0123abc"), ("--image", "r/pets@sha256:0"), ("--version", "9")]
)
def test_unexpected_deployment_fails(released: ASGIApp, tmp_path: Path, option: str, given: str) -> None:
    """A service with another commit, image or version than expected fails."""
    result = smoke_app(released, tmp_path, option, given)
    assert 1 == result.code
    assert given in result.rows["GET /model/info"]["expected"].values()
    assert "GET /model/info" in result.failed


def test_golden_answers_of_other_photos_fail(
    released: ASGIApp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Predictions are compared photo by photo: swapped golden answers fail."""
    cat, neither = GOLDEN.photos.values()
    other = replace(GOLDEN, photos=dict(zip(GOLDEN.photos, (neither, cat), strict=True)))
    monkeypatch.setattr(command.Golden, "read", lambda: other)
    assert PREDICTIONS == smoke_app(released, tmp_path).failed


def test_another_size_limit_fails(released_classifier: Classifier, tmp_path: Path) -> None:
    """A service that accepts larger photos than documented fails."""
    app = create_app(released_classifier, Settings(max_image_bytes=9_000_000, log_level="ERROR"))
    assert {"413 too_large: too many bytes"} == smoke_app(app, tmp_path).failed


def test_cors_for_every_site_fails(released: ASGIApp, tmp_path: Path) -> None:
    """CORS for every site fails."""
    assert {"CORS for a foreign site"} == smoke_app(CORSMiddleware(released, ["*"]), tmp_path).failed


def test_cors_missing_for_allowed_site_fails(released: ASGIApp, tmp_path: Path) -> None:
    """A service without CORS for the expected site fails."""
    assert {"CORS for https://pets.example"} == smoke_app(released, tmp_path, "--origin", "https://pets.example").failed


def test_cors_without_post_fails(released: ASGIApp, tmp_path: Path) -> None:
    """CORS that does not allow POST fails."""
    app = CORSMiddleware(released, ["https://pets.example"], allow_methods=["GET"])
    result = smoke_app(app, tmp_path, "--origin", "https://pets.example")
    assert (1, {"CORS for https://pets.example"}) == (result.code, result.failed)
    assert False is result.rows["CORS for https://pets.example"]["actual"]["POST"]


def test_public_url_that_should_be_private_fails(released: ASGIApp, tmp_path: Path, keys: None) -> None:
    """A service that answers unsigned requests fails if it should be private."""
    result = smoke_app(released, tmp_path, "--auth", "AWS_IAM")
    assert (1, {"unsigned request"}) == (result.code, result.failed)
    assert {"http": 200} == result.rows["unsigned request"]["actual"]


def test_unexpected_json_types_fail(released: ASGIApp, tmp_path: Path) -> None:
    """JSON of an unexpected type fails the checks without a traceback."""

    def lists(path: str, response: HttpResponse) -> HttpResponse:
        return response if path == "/health" else replace(response, body=json.dumps([1, "x"]).encode())

    result = smoke_app(changed(released, lists), tmp_path)
    assert {"GET /", "GET /model/info", "GET /openapi.json", *PREDICTIONS, *ALL_ERRORS} <= result.failed
