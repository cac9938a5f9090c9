"""Draw the pictures of the model card that show activation maps: curves, bundled photos and misclassified photos."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lambda_app.classifier import Classifier
from lambda_app.outputs import interpret
from lambda_app.preprocess import preprocess
from training.figures import PLOTS
from training.plots import save

CURVES, EXAMPLES, MISTAKES = (PLOTS / f"activation_map_{name}.png" for name in ("curves", "examples", "mistakes"))
SAMPLES = Path("data/samples")  # bundled photos, in the public domain
COLUMNS = 6
MAX_MISTAKES = 12
Map = NDArray[np.float32]  # (h, w)


@dataclass(frozen=True)
class Mistake:
    """A misclassified photo."""

    name: str  # of the file, without suffix
    label: str
    predicted: str  # class
    activation_map: Map


def draw_curves(figures: Mapping[str, Any]) -> None:
    """Draw the mean probability of the predicted class against the share of deleted or inserted pixels.

    `figures` are those that `export.experiments.faithfulness` writes.
    """
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.5), layout="constrained", sharey=True)
    for axis, name, change in zip(axes, ("deletion", "insertion"), ("deleted", "inserted"), strict=True):
        for kind, curve in figures[name]["curves"].items():
            axis.plot(np.linspace(0, 100, len(curve)), curve, label=f"{kind}, area {figures[name]['areas'][kind]:.3f}")
        axis.set(title=name, xlabel=f"pixels {change}, %")
        axis.grid(alpha=0.3)
        axis.legend()
    axes[0].set(ylabel="probability of the predicted class")
    save(figure, CURVES, dpi=100)


def draw_examples(classifier: Classifier) -> None:
    """Draw the bundled photos at the input size of the network, darkened where their maps are low."""
    photos = sorted(SAMPLES.glob("*.jpg"))
    figure, axes = plt.subplots(1, len(photos), figsize=(4 * len(photos), 4.2), layout="constrained", squeeze=False)
    for axis, path in zip(axes[0], photos, strict=True):
        pixels = preprocess(path.read_bytes(), classifier.metadata.image_size).pixels
        outputs = classifier.run(pixels[None], explain=True)
        [prediction] = interpret(outputs, classifier.metadata)
        assert outputs.activation_map is not None  # because of explain=True
        prefix = "unknown, closest " if prediction.unknown else ""
        axis.imshow(darken(pixels, outputs.activation_map[0]))
        axis.set_title(f"{path.name}: {prefix}{prediction.predicted_class}, {prediction.confidence:.1%}")
        axis.axis("off")
    save(figure, EXAMPLES, dpi=60)


def darken(pixels: NDArray[np.uint8], activation_map: Map) -> NDArray[np.float64]:
    """Return pixels (3, S, S) as an image (S, S, 3) in [0, 1], darkened where the map is low, as on the web page."""
    positive = activation_map.clip(min=0) / max(float(activation_map.max()), np.finfo(np.float32).tiny)
    brightness = resize_map(positive, pixels.shape[-1])[..., None]
    darkened: NDArray[np.float64] = pixels.transpose(1, 2, 0) / 255 * (0.2 + 0.8 * brightness)
    return darkened


def resize_map(activation_map: Map, side: int) -> Map:
    """Return the map (side, side), interpolated bilinearly."""
    image = Image.fromarray(activation_map.astype(np.float32))
    return np.asarray(image.resize((side, side), Image.Resampling.BILINEAR))


def draw_mistakes(mistakes: Sequence[Mistake]) -> None:
    """Draw the maps of at most `MAX_MISTAKES` misclassified photos. Their license may not allow showing the photos."""
    drawn = mistakes[:MAX_MISTAKES]
    rows = max(1, -(-len(drawn) // COLUMNS))
    figure, axes = plt.subplots(rows, COLUMNS, figsize=(1.9 * COLUMNS, 2.2 * rows), layout="constrained", squeeze=False)
    for axis in axes.flat:
        axis.axis("off")
    for axis, mistake in zip(axes.flat, drawn, strict=False):
        axis.imshow(mistake.activation_map.clip(min=0), cmap="gray", vmin=0)
        axis.set_title(f"{mistake.name}\n{mistake.label}, predicted {mistake.predicted}", fontsize=7)
    save(figure, MISTAKES, dpi=100)
