"""Measure how well the activation map shows the pixels that decide the prediction.

Two measures compare the map with random maps, and with the distance from the photo's center:

- Deletion and insertion (Petsiuk et al. 2018, "RISE"): the probability of the predicted class while pixels are deleted
  from the photo, or inserted into a blurred copy of it, in descending order of the map. A good map has a small area
  under the deletion curve and a large one under the insertion curve.
- Pointing (Böhle et al. 2021, "Convolutional Dynamic Alignment Networks"): how often the peak of the map is on the
  photo of a class in a grid of this photo and three outliers. The position of the photo in the grid is known, so the
  measure needs no annotated boxes.

`python -m export.experiments.faithfulness PHOTOS OUTLIERS` takes two archives or folders: one with a folder per class,
whose photos were not used for training, and one with photos of none of the classes. It writes
artifacts/metrics/activation_map.json and pictures in artifacts/plots/. The pictures show maps and bundled photos, but
no photo of the archives.
"""

import argparse
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter
from tqdm import tqdm

from export.experiments.map_pictures import Map, Mistake, draw_curves, draw_examples, draw_mistakes, resize_map
from export.files import RELEASED
from lambda_app.classifier import Classifier
from training.figures import write_figures
from training.further_sets import read_folder, read_unlabeled
from training.interruption import UserError
from training.photo_dataset import Photos, Pixels, Preprocessor
from training.source import sha256

STEPS = 20  # of a curve, each with the same number of pixels
GRAY = 127  # value of deleted pixels
BLUR = 5 / 224  # standard deviation of the blur that insertion starts from, as a share of the photo's side
TILES = 4  # photos in a grid: one of a class, the others outliers
Curves = NDArray[np.float64]  # (2, STEPS + 1), probabilities during deletion and during insertion


def make_center_map(height: int, width: int) -> Map:
    """Return a map that decreases with the distance from the center, where most photos have their subject."""
    rows, columns = np.mgrid[0:height, 0:width]
    center_map: Map = -np.hypot(rows - (height - 1) / 2, columns - (width - 1) / 2).astype(np.float32)
    return center_map


def measure_curves(classifier: Classifier, pixels: Pixels, activation_map: Map, label: int) -> Curves:
    """Return the probability of a class while pixels are deleted or inserted in descending order of the map."""
    side = pixels.shape[-1]
    order = np.argsort(-resize_map(activation_map, side), axis=None, kind="stable")
    image = Image.fromarray(pixels.transpose(1, 2, 0))
    blurred = np.asarray(image.filter(ImageFilter.GaussianBlur(BLUR * side))).transpose(2, 0, 1).reshape(3, -1)
    original = pixels.reshape(3, -1)
    steps = []
    for start, end in ((original, np.full_like(original, GRAY)), (blurred, original)):
        for count in np.linspace(0, order.size, STEPS + 1).astype(int):
            step = start.copy()
            step[:, order[:count]] = end[:, order[:count]]
            steps.append(step.reshape(pixels.shape))
    probabilities = [classifier.run(np.stack(steps[i : i + 4])).probabilities for i in range(0, len(steps), 4)]
    return np.concatenate(probabilities)[:, label].reshape(2, -1).astype(np.float64)


def measure_photos(classifier: Classifier, photos: list[Pixels]) -> dict[str, NDArray[np.float64]]:
    """Return the curves (N, 2, STEPS + 1) by kind of map. Random maps have the resolution of the activation maps."""
    random = np.random.default_rng(0)
    curves: dict[str, list[Curves]] = {"activation map": [], "center": [], "random": []}
    for pixels in tqdm(photos, desc="deletion and insertion", unit="photo", disable=None):
        label, activation_map = predict_with_map(classifier, pixels)
        shape = activation_map.shape
        maps = (activation_map, make_center_map(*shape), random.random(shape, np.float32))
        for kind, ranking in zip(curves, maps, strict=True):
            curves[kind].append(measure_curves(classifier, pixels, ranking, label))
    return {kind: np.stack(values) for kind, values in curves.items()}


def predict_with_map(classifier: Classifier, pixels: Pixels) -> tuple[int, Map]:
    """Return the predicted label and the activation map. Raise `UserError` if the model file has no map."""
    if not classifier.has_activation_map:
        raise UserError(f"{RELEASED} has no activation map; expected a network that ends in pooling and a linear layer")
    outputs = classifier.run(pixels[None], explain=True)
    assert outputs.activation_map is not None  # because of explain=True
    return int(outputs.probabilities.argmax()), outputs.activation_map[0]


def summarize(curves: Mapping[str, NDArray[np.float64]]) -> dict[str, Any]:
    """Return the mean areas and curves by kind of map, and the advantage of the activation map over each other kind."""
    areas = {kind: measure_areas(values) for kind, values in curves.items()}
    own = areas["activation map"]
    signs = np.array([-1, 1])  # a smaller area under the deletion curve is better, and a larger one under insertion
    gains = {kind: (own - area) * signs for kind, area in areas.items() if kind != "activation map"}
    return {
        name: {
            "areas": {kind: float(area[:, index].mean()) for kind, area in areas.items()},
            "advantage": {kind: summarize_mean(gain[:, index]) for kind, gain in gains.items()},
            "curves": {kind: values[:, index].mean(0).round(4).tolist() for kind, values in curves.items()},
        }
        for index, name in enumerate(("deletion", "insertion"))
    }


def measure_areas(curves: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the area under each curve (N, 2), in [0, 1]."""
    areas: NDArray[np.float64] = (curves[..., 1:] + curves[..., :-1]).mean(axis=2) / 2
    return areas


def summarize_mean(values: NDArray[np.float64]) -> dict[str, float]:
    """Return the mean of two or more paired differences, and its 95 % confidence interval."""
    mean, margin = float(values.mean()), 1.96 * float(values.std(ddof=1)) / len(values) ** 0.5
    return {"mean": mean, "low": mean - margin, "high": mean + margin}


def measure_pointing(classifier: Classifier, photos: list[Pixels], outliers: list[Pixels]) -> dict[str, Any]:
    """Return how often the peak of the map is on the photo of a class, and this photo's share of the positive values.

    There is one grid for each photo. Its position and the three outliers are drawn at random.
    """
    random = np.random.default_rng(0)
    hits, shares = [], []
    for photo in tqdm(photos, desc="pointing", unit="grid", disable=None):
        position = int(random.integers(TILES))
        tiles = [outliers[i] for i in random.choice(len(outliers), TILES - 1, replace=False)]
        tiles.insert(position, photo)
        _, activation_map = predict_with_map(classifier, make_grid(tiles))
        quarters = split_grid(resize_map(activation_map, photo.shape[-1]))
        hits.append(int(np.argmax([quarter.max() for quarter in quarters])) == position)
        positive = [float(quarter.clip(min=0).sum()) for quarter in quarters]
        shares.append(positive[position] / max(sum(positive), np.finfo(float).tiny))
    return {"grids": len(hits), "hits": float(np.mean(hits)), "share": float(np.mean(shares)), "chance": 1 / TILES}


def make_grid(tiles: list[Pixels]) -> Pixels:
    """Return a picture (3, S, S) of four photos (3, S, S) at half their size, in two rows."""
    side = tiles[0].shape[-1] // 2
    small = [
        np.asarray(Image.fromarray(tile.transpose(1, 2, 0)).resize((side, side), Image.Resampling.BICUBIC))
        for tile in tiles
    ]
    rows = [np.concatenate(small[i : i + 2], axis=1) for i in (0, 2)]
    return np.ascontiguousarray(np.concatenate(rows).transpose(2, 0, 1))


def split_grid(grid_map: Map) -> list[Map]:
    """Return the quarters of the map (S, S) of a grid, in the order of its tiles."""
    half = grid_map.shape[0] // 2
    return [grid_map[top : top + half, left : left + half] for top in (0, half) for left in (0, half)]


def find_mistakes(classifier: Classifier, photos: Photos) -> Iterator[Mistake]:
    """Yield the misclassified photos with their maps."""
    names = classifier.metadata.class_names
    for index, name in enumerate(tqdm(photos.ids, desc="mistakes", unit="photo", disable=None)):
        pixels, label = photos[index]
        predicted, activation_map = predict_with_map(classifier, pixels)
        if predicted != label:
            yield Mistake(Path(name).stem, names[label], names[predicted], activation_map)


def read_evenly(photos: Photos, limit: int, minimum: int) -> list[Pixels]:
    """Return the pixels of at most `limit` photos at equal distances, from the first to the last.

    Raise `UserError` if there are fewer than `minimum`.
    """
    count = min(limit, len(photos))
    if count < minimum:
        raise UserError(
            f"{photos.source.path} has {len(photos)} readable photos for this measurement, and --limit is {limit}; "
            f"expected at least {minimum}"
        )
    return [photos[index][0] for index in np.linspace(0, len(photos) - 1, count).round().astype(int)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path, help="archive or folder with one folder per class")
    parser.add_argument("outliers", type=Path, help="archive or folder with photos of none of the classes")
    parser.add_argument(
        "--limit", type=int, default=200, help="maximum number of photos of each (default: %(default)s)"
    )
    options = parser.parse_args()
    classifier = Classifier.load(RELEASED)
    to_pixels = Preprocessor(classifier.metadata.image_size)
    photos = read_folder(options.photos, list(classifier.metadata.class_names), to_pixels)
    selected = read_evenly(photos, options.limit, 2)
    outliers = read_evenly(read_unlabeled(options.outliers, to_pixels), options.limit, TILES - 1)
    figures = {
        "sha256": sha256(RELEASED),
        "set": options.photos.stem,
        "photos": len(selected),
        **summarize(measure_photos(classifier, selected)),
        "pointing": measure_pointing(classifier, selected, outliers) | {"others": options.outliers.stem},
    }
    write_figures("activation_map", figures)
    draw_curves(figures)
    draw_examples(classifier)
    draw_mistakes(list(find_mistakes(classifier, photos)))


if __name__ == "__main__":
    main()
