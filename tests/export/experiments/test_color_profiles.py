"""Test the measurement of color profiles on a few drawings and the tiny model."""

import json
import sys

from export.experiments import color_profiles
from lambda_app.preprocess import decode
from tests.support.drawing import draw, encode_image
from tests.training.workspace import write_params


def measure(photos, classifier, folder, monkeypatch):
    """Return the scores that the command writes for photos by their path in the folder of classes."""
    write_params(folder)
    for name, data in photos.items():
        path = folder / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    monkeypatch.chdir(folder)
    monkeypatch.setattr(color_profiles.Classifier, "load", lambda _: classifier)
    monkeypatch.setattr(color_profiles, "FIGURES", folder / "color.json")
    monkeypatch.setattr(sys, "argv", ["color_profiles", "photos"])
    color_profiles.main()
    return json.loads((folder / "color.json").read_text())


def test_color_scores_cover_every_space(tiny_classifier, tmp_path, monkeypatch):
    """The file has accuracy and probability for each color space, with and without the profile."""
    photos = {f"{label}/1.jpg": encode_image(draw(label, 1, 64)) for label in ("cat", "dog")}
    scores = measure(photos, tiny_classifier, tmp_path, monkeypatch)
    assert list(color_profiles.SPACES) == [score["space"] for score in scores]
    for score in scores:
        assert 2 == score["photos"]
        assert all(0 <= value <= 1 for value in (score["accuracy"] | score["probability"]).values())


def test_color_conversion_depends_on_the_profile():
    """A photo looks different without its profile; otherwise there would be nothing to measure."""
    photo = decode(encode_image(draw("cat", 1, 64)))
    with_profile, without = (decode(data) for data in color_profiles.convert_space(photo, "ProPhoto"))
    assert with_profile != without


def test_only_photos_of_the_classes_are_measured(tiny_classifier, tmp_path, monkeypatch):
    """A folder that `prepare.aliases` names counts as its class; other classes and unreadable photos are left out."""
    photos = {f"{label}/1.jpg": encode_image(draw(label.rstrip("s"), 1, 64)) for label in ("cats", "dogs", "rabbits")}
    photos["dogs/2.jpg"] = b"no photo"
    assert {2} == {score["photos"] for score in measure(photos, tiny_classifier, tmp_path, monkeypatch)}
