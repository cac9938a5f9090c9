"""Test the measurement of activation maps with the tiny model, whose maps are known: red speaks for cat."""

import json
import sys

import numpy as np
import pytest
from PIL import Image

from export.card_figures import ACTIVATION_MAP, MAP_PICTURES, NOT_MEASURED, render_activation_map
from export.checks import faithfulness, map_pictures
from lambda_app.classifier import Classifier
from tests import tiny_model
from tests.drawing import encode

SIDE = tiny_model.METADATA.image_size


def make_pixels(left: str, right: str) -> np.ndarray:
    """Return (3, S, S) pixels of two colors."""
    image = Image.new("RGB", (SIDE, SIDE), left)
    image.paste(right, (SIDE // 2, 0, SIDE, SIDE))
    return np.asarray(image).transpose(2, 0, 1)


def test_true_map_has_better_curves_than_its_negative(tiny_classifier):
    """Deleting what speaks for the class first lowers the probability sooner; inserting it first raises it sooner."""
    pixels = make_pixels("red", "gray")
    label, map_ = faithfulness.explain(tiny_classifier, pixels)
    curves = np.stack([faithfulness.measure_curves(tiny_classifier, pixels, each, label) for each in (map_, -map_)])
    deletion, insertion = faithfulness.measure_areas(curves).T
    assert (0, curves.shape) == (label, (2, 2, faithfulness.STEPS + 1))
    assert deletion[0] < deletion[1]
    assert insertion[0] > insertion[1]


def test_curves_run_from_the_photo_to_gray_and_from_blurred_to_the_photo(tiny_classifier):
    """Deletion begins and insertion ends with the probability of the whole photo; a gray one has no class."""
    pixels = make_pixels("red", "gray")
    deletion, insertion = faithfulness.measure_curves(tiny_classifier, pixels, np.zeros((2, 2)), 0)
    whole = float(tiny_classifier.run(pixels[None]).probabilities[0, 0])
    assert pytest.approx([whole, 0.5, whole], abs=1e-5) == [deletion[0], deletion[-1], insertion[-1]]


def test_area_of_a_curve():
    """The area is that under the straight lines between the points."""
    assert [0.5, 1.0] == faithfulness.measure_areas(np.array([[[0, 0.5, 1], [1, 1, 1]]])).tolist()[0]


def test_advantage_has_the_sign_of_the_measure():
    """A lower deletion and a higher insertion are advantages."""
    curves = {
        kind: np.full((5, 2, 3), [[value], [1 - value]]) for kind, value in (("activation map", 0.2), ("random", 0.5))
    }
    summary = faithfulness.summarize(curves)
    for name in ("deletion", "insertion"):
        assert {"mean": 0.3, "low": 0.3, "high": 0.3} == pytest.approx(summary[name]["advantage"]["random"])


@pytest.mark.parametrize("color", ["red", "gray"])
def test_pointing_counts_the_tile_of_the_peak(tiny_classifier, color):
    """The peak is on the photo of a class beside gray ones; among equal photos, it is there by chance."""
    pets, others = [make_pixels(color, color)] * 12, [make_pixels("gray", "gray")] * 3
    pointing = faithfulness.measure_pointing(tiny_classifier, pets, others)
    assert 12 == pointing["grids"]
    assert (pointing["hits"] == 1) == (color == "red")


def test_grid_has_the_tiles_in_order():
    """A grid has four photos of half the size, and `split_grid` returns its quarters in the same order."""
    tiles = [np.full((3, 8, 8), value, np.uint8) for value in (10, 20, 30, 40)]
    grid = faithfulness.make_grid(tiles)
    assert ((3, 8, 8), [10, 20, 30, 40]) == (
        grid.shape,
        [int(part.mean()) for part in faithfulness.split_grid(grid[0])],
    )


def test_command_writes_figures_and_pictures_for_the_card(tiny_classifier, tmp_path, monkeypatch):
    """The card shows the figures and the pictures of the same run, and of no other one."""
    colors = {"photos/cat/1": "red", "photos/cat/2": "blue", "photos/dog/1": "blue", "others/none/1": "gray"}
    for number in (2, 3):
        colors[f"others/none/{number}"] = "gray"
    for name, color in colors.items():
        path = tmp_path / f"{name}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode(Image.new("RGB", (SIDE, SIDE), color)))
    (tmp_path / "data/samples").mkdir(parents=True)
    (tmp_path / "data/samples/cat.jpg").write_bytes(encode(Image.new("RGB", (48, 32), "red")))
    (tmp_path / ACTIVATION_MAP.parent).mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(faithfulness.Classifier, "load", lambda _: tiny_classifier)
    monkeypatch.setattr(sys, "argv", ["faithfulness", "photos", "others"])
    faithfulness.main()
    assert json.loads(ACTIVATION_MAP.read_text())["photos"] == 3
    for picture in (map_pictures.CURVES, map_pictures.EXAMPLES, map_pictures.MISTAKES):
        assert picture.read_bytes().startswith(b"\x89PNG")
        assert f"../{picture}" in MAP_PICTURES
    text = render_activation_map(tiny_model.METADATA.run_id)
    assert "in 3 grids" in text
    assert "| deletion | lower |" in text
    assert NOT_MEASURED == render_activation_map("another run")


def test_mistakes_are_misclassified_photos(tiny_classifier, tmp_path):
    """A mistake has the name of the photo, both classes, and the map of the predicted class."""
    for name, color in {"cat/right": "red", "cat/wrong": "blue", "dog/right": "blue"}.items():
        path = tmp_path / f"{name}.jpg"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(encode(Image.new("RGB", (SIDE, SIDE), color)))
    source = faithfulness.Source(tmp_path)
    [mistake] = faithfulness.find_mistakes(tiny_classifier, source, ["cat", "dog"])
    assert ("wrong", "cat", "dog") == (mistake.name, mistake.label, mistake.predicted)
    assert mistake.activation_map.min() > 0


def test_model_without_map_is_refused(tmp_path):
    """The message names the command that adds the map."""
    classifier = Classifier.load(tiny_model.write(tmp_path / "old.onnx", with_map=False))
    with pytest.raises(SystemExit, match=r"export\.upgrade"):
        faithfulness.explain(classifier, make_pixels("red", "red"))
