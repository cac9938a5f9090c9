"""Test the smoke test against services with one fault: only the rows that concern the fault fail."""

import json
from dataclasses import replace
from pathlib import Path

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
from tests.infra.smoke.faulty_services import HEALTH, changed, edited, page, smoke_app

pytestmark = pytest.mark.slow

GOLDEN = Golden.read()
PREDICTIONS = {f"POST /predict {photo}{way}" for photo in GOLDEN.photos for way in ("", " in a form")}
ALL_ERRORS = {f"{status} {code}: {name}" for name, (status, code, _) in ERRORS.items()}


def older_model(path: str, response: HttpResponse) -> HttpResponse:
    return edited(response, lambda body: body.update(model_version="old")) if path == "/model/info" else response


def older_everywhere(_: str, response: HttpResponse) -> HttpResponse:
    return replace(response, body=response.body.replace(GOLDEN.model_version.encode(), b"old"))


def other_classes(path: str, response: HttpResponse) -> HttpResponse:
    return edited(response, lambda body: body["class_names"].reverse()) if path == "/model/info" else response


def swapped(path: str, response: HttpResponse) -> HttpResponse:
    def swap(body: dict) -> None:
        names = body["probabilities"]
        body["probabilities"] = dict(zip(names, reversed(names.values()), strict=True))

    return edited(response, swap) if (path, response.status) == ("/predict", 200) else response


def slightly_off(path: str, response: HttpResponse) -> HttpResponse:
    def move(body: dict) -> None:
        body["probabilities"] = {name: value + 0.002 for name, value in body["probabilities"].items()}

    return edited(response, move) if (path, response.status) == ("/predict", 200) else response


def never_unknown(path: str, response: HttpResponse) -> HttpResponse:
    is_prediction = (path, response.status) == ("/predict", 200)
    return edited(response, lambda body: body.update(unknown=False)) if is_prediction else response


def other_error_shape(_: str, response: HttpResponse) -> HttpResponse:
    return (
        response if response.status < 400 else page(response, '{"detail": "no"}', response.status, "application/json")
    )


def error_without_request_id(_: str, response: HttpResponse) -> HttpResponse:
    return response if response.status < 400 else edited(response, lambda body: body["error"].pop("request_id"))


def stack_trace(_: str, response: HttpResponse) -> HttpResponse:
    trace = 'Traceback (most recent call last):\n  File "/var/task/app.py", line 3'
    return response if response.status < 400 else edited(response, lambda body: body["error"].update(message=trace))


def crash(_: str, response: HttpResponse) -> HttpResponse:
    return response if response.status != 422 else page(response, "Internal Server Error", 500, "text/plain")


def no_metrics(path: str, response: HttpResponse) -> HttpResponse:
    return page(response, "{}", 404) if path == "/metrics" else response


def unlisted(path: str, response: HttpResponse) -> HttpResponse:
    return edited(response, lambda body: body["routes"].pop("GET /docs")) if path == "/" else response


def metrics_page(path: str, response: HttpResponse) -> HttpResponse:
    return page(response, "<html>Welcome!</html>") if path == "/metrics" else response


def metrics_never_count(path: str, response: HttpResponse) -> HttpResponse:
    constant = "".join(f"# TYPE {name} {kind}\n" for name, kind in METRIC_TYPES.items())
    constant += 'prediction_requests_total{predicted_class="cat"} 7.0\n'
    return page(response, constant, kind="text/plain") if path == "/metrics" else response


def other_api(path: str, response: HttpResponse) -> HttpResponse:
    return edited(response, lambda body: body["paths"].pop("/predict")) if path == "/openapi.json" else response


def json_as_html(path: str, response: HttpResponse) -> HttpResponse:
    return page(response, response.body.decode()) if path == "/model/info" else response


def parked_domain(_: str, response: HttpResponse) -> HttpResponse:
    return page(response, "<html>This domain is for sale</html>")


def redirect(_: str, response: HttpResponse) -> HttpResponse:
    return replace(response, status=301, headers=(("location", "https://example.org"),), body=b"")


def unhealthy(path: str, response: HttpResponse) -> HttpResponse:
    return edited(response, lambda body: body.update(model_loaded=False)) if path == "/health" else response


@pytest.mark.parametrize(
    ("fault", "failed"),
    [
        (older_model, {"GET /model/info"}),
        (older_everywhere, {"GET /", "GET /model/info", "GET /openapi.json", *PREDICTIONS}),
        (other_classes, {"GET /model/info"}),
        (swapped, PREDICTIONS),
        (slightly_off, PREDICTIONS),
        (never_unknown, {name for name in PREDICTIONS if "neither" in name}),
        (other_error_shape, ALL_ERRORS),
        (error_without_request_id, ALL_ERRORS),
        (stack_trace, ALL_ERRORS),
        (crash, {"422 damaged_image: a truncated photo"}),
        (no_metrics, {"GET routes", "GET /metrics", "GET /metrics counts"}),
        (unlisted, {"GET /"}),
        (metrics_page, {"GET /metrics", "GET /metrics counts"}),
        (metrics_never_count, {"GET /metrics counts"}),
        (other_api, {"GET /openapi.json"}),
        (json_as_html, {"GET /model/info"}),
        (parked_domain, HEALTH),
        (redirect, HEALTH),
        (unhealthy, HEALTH),
    ],
)
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
