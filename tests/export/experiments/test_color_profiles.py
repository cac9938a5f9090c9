"""Test the measurement of color profiles on a few drawings and the tiny model."""

import json
import sys

import pytest

from export.experiments import color_profiles
from lambda_app.preprocess import decode
from tests.support.drawing import draw, encode


@pytest.mark.slow
def test_color_scores_cover_every_space(tiny_classifier, tmp_path, monkeypatch):
    """The file has accuracy and probability for each color space, with and without the profile."""
    for label in ("cat", "dog"):
        (tmp_path / "photos" / label).mkdir(parents=True)
        (tmp_path / "photos" / label / "1.jpg").write_bytes(encode(draw(label, 1, 64)))
    monkeypatch.setattr(color_profiles.Classifier, "load", lambda _: tiny_classifier)
    monkeypatch.setattr(color_profiles, "FIGURES", tmp_path / "color.json")
    monkeypatch.setattr(sys, "argv", ["color_profiles", str(tmp_path / "photos")])
    color_profiles.main()
    scores = json.loads((tmp_path / "color.json").read_text())
    assert list(color_profiles.SPACES) == [score["space"] for score in scores]
    for score in scores:
        assert 2 == score["photos"]
        assert all(0 <= value <= 1 for value in (score["accuracy"] | score["probability"]).values())


def test_color_conversion_depends_on_the_profile():
    """A photo looks different without its profile; otherwise there would be nothing to measure."""
    photo = decode(encode(draw("cat", 1, 64)))
    with_profile, without = (decode(data) for data in color_profiles.convert_space(photo, "ProPhoto"))
    assert with_profile != without
