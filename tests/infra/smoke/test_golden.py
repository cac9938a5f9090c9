"""golden.json is about the model that serves, and the photos that are bundled."""

import json

import pytest
from starlette.types import ASGIApp

from infra.emulator.serve import background
from infra.smoke.answers import NoAnswer
from infra.smoke.expected import GOLDEN, SAMPLES, TOLERANCE, Golden, Near
from infra.smoke.golden import golden
from infra.smoke.url import Url
from lambda_app.app import create_app
from lambda_app.classifier import Classifier
from lambda_app.settings import Settings
from tests.infra.smoke.services import changed, page


def test_golden_answers_are_of_the_model_that_serves(released: ASGIApp) -> None:
    """Otherwise the smoke test of every deployment would fail."""
    with background(released) as url, Url(url, auth=None, timeout_s=600) as ask:
        now = golden(ask)
    kept = Golden.read()
    assert (now.model_version, now.class_names) == (kept.model_version, kept.class_names), "run `make golden`"
    assert {photo: kept.answer(photo) for photo in kept.photos} == now.photos, "run `make golden`"


def test_every_bundled_photo_has_one() -> None:
    """No more and no less."""
    assert {photo.name for photo in SAMPLES.glob("*.jpg")} == json.loads(GOLDEN.read_text())["photos"].keys()


def test_any_classes_have_golden_answers(tiny_classifier: Classifier) -> None:
    """The bundled photos are asked of whatever model there is."""
    app = create_app(tiny_classifier, Settings(log_level="ERROR"))
    with background(app) as url, Url(url, auth=None, timeout_s=600) as ask:
        answers = golden(ask)
    assert tiny_classifier.metadata.model_version == answers.model_version
    assert set(tiny_classifier.metadata.class_names) == answers.photos["cat.jpg"]["probabilities"].keys()


def test_no_golden_answers_of_a_broken_service(released: ASGIApp) -> None:
    """An error is never written down as what is right."""
    broken = changed(released, lambda _, response: page(response, "Oh, no", 500))
    with (
        background(broken) as url,
        Url(url, auth=None, timeout_s=600) as ask,
        pytest.raises(NoAnswer, match="GET /model/info answered 500, expected 200: Oh, no"),
    ):
        golden(ask)


@pytest.mark.parametrize(
    ("value", "near"),
    [(0.5, True), (0.5 + 0.9 * TOLERANCE, True), (0.5 - 1.1 * TOLERANCE, False), (None, False), ("0.5", False)],
)
def test_near(value, near) -> None:
    """Golden probabilities equal those within the tolerance, and nothing that is not a number."""
    assert near == (Near(0.5) == value)
