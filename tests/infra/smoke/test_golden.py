"""Test golden.json against the released model and the bundled photos."""

import json
from pathlib import Path

import pytest
from starlette.types import ASGIApp

from infra.emulator.serve import background
from infra.smoke.golden import GOLDEN, SAMPLES, TOLERANCE, Golden, GoldenError, Near, record_golden
from infra.smoke.messages import NoAnswer
from infra.smoke.url import UrlClient
from lambda_app.app import create_app
from lambda_app.classifier import Classifier
from lambda_app.settings import Settings
from tests.infra.smoke.faulty_services import changed, page
from tests.support.waiting import DEADLINE_S


def test_golden_answers_cover_every_bundled_photo() -> None:
    """golden.json has one answer per bundled photo and no other."""
    assert {photo.name for photo in SAMPLES.glob("*.jpg")} == json.loads(GOLDEN.read_text())["photos"].keys()


def test_record_golden_accepts_any_classes(tiny_classifier: Classifier) -> None:
    """Golden answers can be recorded for a model with other classes."""
    app = create_app(tiny_classifier, Settings(log_level="ERROR"))
    with background(app) as url, UrlClient(url, auth=None, timeout_s=DEADLINE_S) as ask:
        recorded = record_golden(ask)
    assert tiny_classifier.metadata.model_version == recorded.model_version
    assert set(tiny_classifier.metadata.class_names) == recorded.photos["cat.jpg"]["probabilities"].keys()


def test_record_golden_rejects_errors(released: ASGIApp) -> None:
    """An error response raises `NoAnswer` and is never recorded."""
    broken = changed(released, lambda _, response: page(response, "Oh, no", 500))
    with (
        background(broken) as url,
        UrlClient(url, auth=None, timeout_s=DEADLINE_S) as ask,
        pytest.raises(NoAnswer, match="GET /model/info answered 500, expected 200: Oh, no"),
    ):
        record_golden(ask)


@pytest.mark.parametrize(
    ("value", "near"),
    [(0.5, True), (0.5 + 0.9 * TOLERANCE, True), (0.5 - 1.1 * TOLERANCE, False), (None, False), ("0.5", False)],
)
def test_near_compares_within_tolerance(value, near) -> None:
    """A golden probability equals numbers within the tolerance, and nothing that is not a number."""
    assert near == (Near(0.5) == value)


@pytest.mark.parametrize("content", [None, "no JSON", "[]", "{}"])
def test_read_golden_rejects_invalid_files(content: str | None, tmp_path: Path) -> None:
    """A missing or invalid golden.json raises an error that names `make golden`."""
    path = tmp_path / "golden.json"
    if content:
        path.write_text(content)
    with pytest.raises(GoldenError, match=rf"^{path}: expected golden answers, which `make golden` writes"):
        Golden.read(path)
