"""Plot training and evaluation, one function per file, from probabilities (N, C) and labels (N,)."""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from sklearn.calibration import calibration_curve
from sklearn.metrics import ConfusionMatrixDisplay, RocCurveDisplay

from training.photo_dataset import Photos
from training.predictions import Floats, Labels

MAX_WORST = 24  # in the picture of a set


def curves(history: list[dict[str, float]], path: Path) -> None:
    """Plot loss and accuracy of the training and validation splits by epoch."""
    figure, axes = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    epochs = [record["epoch"] for record in history]
    for axis, metric in zip(axes, ("loss", "accuracy"), strict=True):
        for split in ("train", "val"):
            axis.plot(epochs, [record[f"{split}_{metric}"] for record in history], marker="o", label=split)
        axis.set(xlabel="epoch", ylabel=metric)
        axis.grid(alpha=0.3)
        axis.legend()
    save(figure, path)


def confusion(probabilities: Floats, labels: Labels, names: list[str], path: Path) -> None:
    """Plot the confusion matrix."""
    figure, axis = plt.subplots(figsize=(4.5, 4), layout="constrained")
    ConfusionMatrixDisplay.from_predictions(
        labels,
        probabilities.argmax(1),
        labels=range(len(names)),
        display_labels=names,
        cmap="Blues",
        colorbar=False,
        ax=axis,
    )
    save(figure, path)


def roc(probabilities: Floats, labels: Labels, names: list[str], path: Path) -> None:
    """Plot a ROC curve for each class that occurs, against the rest; for two classes, plot one curve."""
    figure, axis = plt.subplots(figsize=(4.5, 4), layout="constrained")
    for index in np.unique(labels)[1 if len(names) == 2 else 0 :]:
        RocCurveDisplay.from_predictions(labels == index, probabilities[:, index], name=names[index], ax=axis)
    axis.plot([0, 1], [0, 1], ":", color="gray")
    axis.set(xlabel="false positive rate", ylabel="true positive rate")
    save(figure, path)


def reliability(probabilities: Floats, labels: Labels, path: Path) -> None:
    """Plot accuracy by confidence, in ten bins of equal count."""
    figure, axis = plt.subplots(figsize=(4.5, 4), layout="constrained")
    confidence = probabilities.max(1).clip(0, 1)
    accuracy, mean_confidence = calibration_curve(
        probabilities.argmax(1) == labels, confidence, n_bins=10, strategy="quantile"
    )
    axis.plot([0, 1], [0, 1], ":", color="gray")
    axis.plot(mean_confidence, accuracy, marker="o")
    low = max(0.0, min(mean_confidence.min(), accuracy.min()) - 0.02)
    axis.set(xlabel="confidence", ylabel="accuracy", xlim=(low, 1.002), ylim=(low, 1.002))
    axis.grid(alpha=0.3)
    save(figure, path)


def worst_mistakes(probabilities: Floats, photos: Photos, names: list[str], path: Path) -> None:
    """Show the wrong predictions with the highest confidence, as the network saw them."""
    labels = np.array(photos.labels)
    wrong = np.flatnonzero(probabilities.argmax(1) != labels)
    worst = wrong[np.argsort(-probabilities.max(1)[wrong])][:MAX_WORST]
    rows = max(1, -(-len(worst) // 6))
    figure, axes = plt.subplots(rows, 6, figsize=(12, 2.5 * rows), squeeze=False)
    for axis in axes.flat:
        axis.axis("off")
    for axis, index in zip(axes.flat, worst, strict=False):
        pixels, label = photos[index]
        axis.imshow(np.asarray(pixels).transpose(1, 2, 0))
        confidence, predicted = probabilities[index].max(), names[probabilities[index].argmax()]
        title = f"{photos.ids[index].rsplit('/', 1)[-1]}: {names[label]}\npredicted {predicted} {confidence:.2f}"
        axis.set_title(title, fontsize=8)
    figure.tight_layout()
    save(figure, path)


def save(figure: plt.Figure, path: Path, dpi: int = 120) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=dpi)
    plt.close(figure)
