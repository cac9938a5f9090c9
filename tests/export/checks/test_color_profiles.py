"""What color profiles are worth, on a few photos of the tiny model."""

import json
import sys

import pytest

from export.checks import color_profiles as color
from lambda_app.preprocess import decode
from tests.drawing import draw, encode


@pytest.mark.slow
def test_color_scores_are_of_every_space(tiny_classifier, tmp_path, monkeypatch):
    """Accuracy and probability, with the profile and without it, of as many photos as there are."""
    for label in ("cat", "dog"):
        (tmp_path / "photos" / label).mkdir(parents=True)
        (tmp_path / "photos" / label / "1.jpg").write_bytes(encode(draw(label, 1, 64)))
    monkeypatch.setattr(color.Classifier, "load", lambda _: tiny_classifier)
    monkeypatch.setattr(color, "FIGURES", tmp_path / "color.json")
    monkeypatch.setattr(sys, "argv", ["color", str(tmp_path / "photos")])
    color.main()
    scores = json.loads((tmp_path / "color.json").read_text())
    assert list(color.SPACES) == [score["space"] for score in scores]
    for score in scores:
        assert 2 == score["photos"]
        assert all(0 <= value <= 1 for value in (score["accuracy"] | score["probability"]).values())


def test_color_without_its_profile_looks_different():
    """Or there would be nothing to measure."""
    photo = decode(encode(draw("cat", 1, 64)))
    with_profile, without = (decode(data) for data in color.stored(photo, "ProPhoto"))
    assert with_profile != without
