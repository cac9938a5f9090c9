"""Test how activation maps are measured, with the tiny model: in its maps, red is evidence for cat and against dog."""

import sys

import numpy as np
import pytest
from PIL import Image

from export.card_figures import MAP_PICTURES, NOT_MEASURED, render_activation_map
from export.experiments import faithfulness, map_pictures
from lambda_app.classifier import Classifier
from tests.support import tiny_model
from tests.support.drawing import encode_image
from tests.training.workspace import write_params
from training.figures import read_figures
from training.interruption import UserError
from training.photo_dataset import Photos, Preprocessor
from training.source import Source, sha256

SIDE = tiny_model.METADATA.image_size


def make_pixels(left: str, right: str) -> np.ndarray:
    """Return a picture (3, S, S) whose halves have these colors."""
    image = Image.new("RGB", (SIDE, SIDE), left)
    image.paste(right, (SIDE // 2, 0, SIDE, SIDE))
    return np.asarray(image).transpose(2, 0, 1)


def test_true_map_has_better_curves_than_its_negative(tiny_classifier):
    """Deleting the evidence first lowers the probability sooner; inserting it first raises the probability sooner."""
    pixels = make_pixels("red", "gray")
    label, true_map = faithfulness.predict_with_map(tiny_classifier, pixels)
    curves = np.stack(
        [faithfulness.measure_curves(tiny_classifier, pixels, ranking, label) for ranking in (true_map, -true_map)]
    )
    deletion, insertion = faithfulness.measure_areas(curves).T
    assert (0, curves.shape) == (label, (2, 2, faithfulness.STEPS + 1))
    assert deletion[0] < deletion[1]
    assert insertion[0] > insertion[1]


def test_curves_run_from_the_photo_to_gray_and_from_blurred_to_the_photo(tiny_classifier):
    """Deletion starts and insertion ends with the probability of the photo; a gray picture has that of a guess."""
    pixels = make_pixels("red", "gray")
    deletion, insertion = faithfulness.measure_curves(tiny_classifier, pixels, np.zeros((2, 2)), 0)
    whole = float(tiny_classifier.run(pixels[None]).probabilities[0, 0])
    assert pytest.approx([whole, 0.5, whole], abs=1e-5) == [deletion[0], deletion[-1], insertion[-1]]


def test_area_of_a_curve():
    """The area under a curve is that of the trapezoids below its points."""
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
    """The peak is on a red photo among gray outliers; if all four are gray, it is on the photo only by chance."""
    photos, outliers = [make_pixels(color, color)] * 12, [make_pixels("gray", "gray")] * 3
    pointing = faithfulness.measure_pointing(tiny_classifier, photos, outliers)
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


def write_photos(folder, colors):
    """Write a photo of one color for each relative path."""
    for name, color in colors.items():
        path = folder / f"{name}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode_image(Image.new("RGB", (SIDE, SIDE), color)))


@pytest.fixture
def measured(tiny_classifier, tmp_path, monkeypatch):
    """Return a function that measures the tiny model on the folders `photos` and `outliers` of a new project."""
    write_params(tmp_path)
    write_photos(tmp_path, {"photos/cat/1": "red", "photos/cat/2": "blue", "photos/dog/1": "blue"})
    write_photos(tmp_path, {f"outliers/{number}": "gray" for number in range(3)})
    write_photos(tmp_path, {"data/samples/cat": "red"})
    model = tiny_model.write(tmp_path / "tiny.onnx")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(faithfulness, "RELEASED", model)

    def measure(*arguments):
        monkeypatch.setattr(sys, "argv", ["faithfulness", "photos", "outliers", *arguments])
        faithfulness.main()
        return read_figures("activation_map")

    return measure


def test_command_writes_figures_and_pictures_for_the_card(measured):
    """The card of the measured model file shows the figures and pictures; the card of another file does not."""
    figures = measured()
    assert (3, 3) == (figures["photos"], figures["pointing"]["grids"])
    for picture in (map_pictures.CURVES, map_pictures.EXAMPLES, map_pictures.MISTAKES):
        assert picture.read_bytes().startswith(b"\x89PNG")
        assert f"../{picture}" in MAP_PICTURES
    text = render_activation_map(sha256(faithfulness.RELEASED))
    assert "in 3 grids" in text
    assert "| deletion | lower |" in text
    assert NOT_MEASURED == render_activation_map("0" * 64)


@pytest.mark.parametrize(
    ("limit", "message"),
    [("1", "photos has 3 readable .* --limit is 1; expected at least 2"), ("2", "outliers has 3 .* at least 3")],
)
def test_too_few_photos_are_an_error(measured, limit, message):
    """An interval requires two photos, and a grid three outliers; the error names the folder and both numbers."""
    with pytest.raises(UserError, match=message):
        measured("--limit", limit)


@pytest.mark.parametrize(
    ("limit", "expected"), [(3, [0, 2, 4]), (4, [0, 1, 3, 4]), (5, [0, 1, 2, 3, 4]), (9, [0, 1, 2, 3, 4])]
)
def test_photos_are_selected_at_equal_distances(tmp_path, limit, expected):
    """The selection reaches from the first photo to the last, also if the limit is above half of their number."""
    write_photos(tmp_path, {f"cat/{number}": (50 * number,) * 3 for number in range(5)})
    labels = {f"cat/{number}.jpg": "cat" for number in range(5)}
    photos = Photos(Source(tmp_path), labels, ["cat"], Preprocessor(SIDE))
    found = faithfulness.read_evenly(photos, limit, 1)
    assert expected == [round(float(pixels.mean()) / 50) for pixels in found]


def test_mistakes_are_misclassified_photos(tiny_classifier, tmp_path):
    """A mistake has the name of the photo, both classes, and the map of the predicted class."""
    labels = {"cat/right.jpg": "cat", "cat/wrong.jpg": "cat", "dog/right.jpg": "dog"}
    write_photos(tmp_path, {"cat/right": "red", "cat/wrong": "blue", "dog/right": "blue"})
    photos = Photos(Source(tmp_path), labels, ["cat", "dog"], Preprocessor(SIDE))
    [mistake] = faithfulness.find_mistakes(tiny_classifier, photos)
    assert ("wrong", "cat", "dog") == (mistake.name, mistake.label, mistake.predicted)
    assert mistake.activation_map.min() > 0


def test_model_without_map_is_an_error(tmp_path):
    """A model without an activation map is an error that names the served file and what its network would need."""
    classifier = Classifier.load(tiny_model.write(tmp_path / "old.onnx", with_map=False))
    message = f"^{faithfulness.RELEASED} has no activation map; expected a network that ends in pooling"
    with pytest.raises(UserError, match=message):
        faithfulness.predict_with_map(classifier, make_pixels("red", "red"))
