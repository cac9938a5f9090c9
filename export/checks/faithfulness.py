"""Measure whether the activation map shows what decides the prediction, against random maps and the photo's center.

- Deletion and insertion (Petsiuk et al. 2018, "RISE"): the probability of the predicted class while its most important
  pixels are deleted, or inserted into a blurred photo. A good map has a low area under the first curve and a high one
  under the second.
- Pointing: how often the peak of the map is on the photo of a class, in grids of it and three photos of other things
  (Böhle et al. 2021, "Convolutional Dynamic Alignment Networks"). No boxes are needed, because its place is known.

`python -m export.checks.faithfulness PHOTOS OTHERS` takes two archives or folders: one with a folder per class, whose
photos the model was not trained on, and one of other things. It writes artifacts/metrics/activation_map.json and
the pictures in artifacts/plots/, which show maps and bundled photos only, no photo of the archives.
"""

import argparse
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter
from tqdm import tqdm

from export.checks.map_pictures import Mistake, draw_curves, draw_examples, draw_mistakes
from lambda_app.classifier import Classifier
from lambda_app.preprocess import preprocess
from training.source import Source

METRICS = Path("artifacts/metrics/activation_map.json")
MODEL = Path("lambda_app/model.onnx")
STEPS = 20  # from the whole photo to none of it
GRAY = 127  # of deleted pixels
BLUR = 5 / 224  # standard deviation of the blurred photo that insertion starts from, as a share of its side
Pixels = NDArray[np.uint8]  # (3, S, S)
Map = NDArray[np.float32]  # (h, w)
Curves = NDArray[np.float64]  # (2, STEPS + 1): deletion and insertion


def resize_map(activation_map: Map, side: int) -> Map:
    """Return the map at the size of the image, interpolated linearly."""
    image = Image.fromarray(activation_map.astype(np.float32))
    return np.asarray(image.resize((side, side), Image.Resampling.BILINEAR))


def make_center_map(height: int, width: int) -> Map:
    """Return a map whose value falls with the distance from the center, where most photos have their subject."""
    rows, columns = np.mgrid[0:height, 0:width]
    map_: Map = -np.hypot(rows - (height - 1) / 2, columns - (width - 1) / 2).astype(np.float32)
    return map_


def measure_curves(classifier: Classifier, pixels: Pixels, activation_map: Map, label: int) -> Curves:
    """Return the probability of the class `label` while pixels are deleted or inserted in the order of the map."""
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
    """Return the curves (N, 2, STEPS + 1) of N photos by kind of map. Random maps are as coarse as the network's."""
    random = np.random.default_rng(0)
    curves: dict[str, list[Curves]] = {"activation map": [], "center": [], "random": []}
    for pixels in tqdm(photos, desc="deletion and insertion", unit="photo", disable=None):
        label, map_ = explain(classifier, pixels)
        maps = (map_, make_center_map(*map_.shape), random.random(map_.shape, np.float32))
        for kind, each in zip(curves, maps, strict=True):
            curves[kind].append(measure_curves(classifier, pixels, each, label))
    return {kind: np.stack(values) for kind, values in curves.items()}


def explain(classifier: Classifier, pixels: Pixels) -> tuple[int, Map]:
    """Return the predicted label and the activation map. Exit if the model file has none."""
    if not classifier.has_activation_map:
        raise SystemExit(f"{MODEL} has no activation map; `python -m export.upgrade` adds it to most files")
    outputs = classifier.run(pixels[None], explain=True)
    assert outputs.activation_map is not None  # as asked for
    return int(outputs.probabilities.argmax()), outputs.activation_map[0]


def summarize(curves: Mapping[str, NDArray[np.float64]]) -> dict[str, Any]:
    """Return the mean areas and curves by kind of map, and the map's advantage over each other kind."""
    areas = {kind: measure_areas(values) for kind, values in curves.items()}
    better = np.array([-1, 1])  # a lower deletion and a higher insertion are better
    gains = {
        kind: (areas["activation map"] - each) * better for kind, each in areas.items() if kind != "activation map"
    }
    return {
        name: {
            "areas": {kind: float(values[:, index].mean()) for kind, values in areas.items()},
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
    """Return the mean of paired differences, and its 95 % confidence interval."""
    mean, margin = float(values.mean()), 1.96 * float(values.std(ddof=1)) / len(values) ** 0.5
    return {"mean": mean, "low": mean - margin, "high": mean + margin}


def measure_pointing(classifier: Classifier, pets: list[Pixels], others: list[Pixels]) -> dict[str, Any]:
    """Return how often the peak of the map is on the pet, and the pet's share of the map's positive values."""
    random = np.random.default_rng(0)
    hits, shares = [], []
    for pet in tqdm(pets, desc="pointing", unit="grid", disable=None):
        place = int(random.integers(4))
        tiles = [others[i] for i in random.choice(len(others), 3, replace=False)]
        tiles.insert(place, pet)
        _, map_ = explain(classifier, make_grid(tiles))
        large = resize_map(map_, pet.shape[-1])
        quarters = split_grid(large)
        hits.append(int(np.argmax([quarter.max() for quarter in quarters])) == place)
        positive = [float(quarter.clip(min=0).sum()) for quarter in quarters]
        shares.append(positive[place] / max(sum(positive), np.finfo(float).tiny))
    return {"grids": len(hits), "hits": float(np.mean(hits)), "share": float(np.mean(shares)), "chance": 0.25}


def make_grid(tiles: list[Pixels]) -> Pixels:
    """Return four photos of half the size, in two rows."""
    side = tiles[0].shape[-1] // 2
    small = [
        np.asarray(Image.fromarray(tile.transpose(1, 2, 0)).resize((side, side), Image.Resampling.BICUBIC))
        for tile in tiles
    ]
    rows = [np.concatenate(small[i : i + 2], axis=1) for i in (0, 2)]
    return np.ascontiguousarray(np.concatenate(rows).transpose(2, 0, 1))


def split_grid(large: Map) -> list[Map]:
    """Return the quarters of a map, in the order of the tiles."""
    half = large.shape[0] // 2
    return [large[top : top + half, left : left + half] for top in (0, half) for left in (0, half)]


def find_mistakes(classifier: Classifier, source: Source, names: list[str]) -> Iterator[Mistake]:
    """Yield the misclassified photos with their maps."""
    for photo, label in tqdm(list_photos(source, names), desc="mistakes", unit="photo", disable=None):
        pixels = preprocess(source.read(photo), classifier.metadata.image_size).pixels
        predicted, map_ = explain(classifier, pixels)
        if predicted != label:
            yield Mistake(Path(photo).stem, names[label], names[predicted], map_)


def list_photos(source: Source, names: list[str]) -> list[tuple[str, int]]:
    """Return every photo with the index of its class, in the order of their names."""
    return [(photo, names.index(label.lower())) for photo, label in sorted(source.layout({}).labels.items())]


def thin_out(photos: list[str], limit: int) -> list[str]:
    """Return at most `limit` photos, at equal distances."""
    return photos[:: max(1, len(photos) // limit)][:limit]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path, help="archive or folder with one folder per class")
    parser.add_argument("others", type=Path, help="archive or folder with photos of none of the classes")
    parser.add_argument("--limit", type=int, default=200, help="most photos to measure (default: %(default)s)")
    options = parser.parse_args()
    classifier = Classifier.load(MODEL)
    names = list(classifier.metadata.class_names)
    source = Source(options.photos)
    pets = load(classifier, source, thin_out([photo for photo, _ in list_photos(source, names)], options.limit))
    others = Source(options.others)
    strangers = load(classifier, others, thin_out(sorted(others.layout({}).labels), options.limit))
    curves = measure_photos(classifier, pets)
    figures = {
        "run_id": classifier.metadata.run_id,
        "set": options.photos.stem,
        "photos": len(pets),
        "steps": STEPS,
        **summarize(curves),
        "pointing": measure_pointing(classifier, pets, strangers) | {"others": options.others.stem},
    }
    METRICS.write_text(json.dumps(figures, indent=2) + "\n")
    draw_curves(figures)
    draw_examples(classifier)
    draw_mistakes(list(find_mistakes(classifier, source, names)))


def load(classifier: Classifier, source: Source, photos: list[str]) -> list[Pixels]:
    return [preprocess(source.read(photo), classifier.metadata.image_size).pixels for photo in photos]


if __name__ == "__main__":
    main()
