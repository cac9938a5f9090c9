"""`make suspects`: find photos that are probably mislabeled, or that show none of the classes.

A logistic regression on the features of the pretrained network judges each photo. It is fitted on the other folds only
(Northcutt et al. 2021, "Confident Learning"). The results are candidates; people decide what to add to
data/set-aside.csv.
"""

import csv
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from tqdm import tqdm

from training import config
from training.calibration import familiarity, fit_familiar
from training.data import Photos, Preprocessor, class_names, loader, read_manifest
from training.model import Floats, Labels, Predictions, build
from training.networks import Network
from training.source import PHOTOS, Source
from training.state import keep_freed_memory

SUSPECTS = Path("artifacts/suspects.csv")
SHEET = Path("artifacts/suspects.png")  # shows photos, so Git ignores it
MAX_PER_KIND = 60


def main() -> None:
    keep_freed_memory()
    params, test = config.load(config.Train), config.load(config.Evaluate)
    rows = sorted(read_manifest(), key=lambda row: row["id"])
    names = class_names(rows)
    photos = Photos(Source(PHOTOS), {row["id"]: row["label"] for row in rows}, names, Preprocessor(test.image_size))
    network = build(params.architecture, len(names), weights=params.weights).eval()
    features, predictions = extract_features(network, photos, test.batch_size)
    plausibility = {"label": label_probabilities(features, predictions.labels, [row["group"] for row in rows])}
    if network.frozen_head is not None:
        plausibility["photo"] = familiarity(predictions, fit_familiar(predictions.frozen_logits))
    suspects = [
        (kind, index, float(values[index]))
        for kind, values in plausibility.items()
        for index in np.argsort(values)[:MAX_PER_KIND]
    ]
    write_list(suspects, rows)
    draw_sheet(suspects, photos)
    print(f"{len(suspects)} suspects in {SUSPECTS}, pictures in {SHEET}")


@torch.inference_mode()
def extract_features(network: Network, photos: Photos, batch_size: int) -> tuple[Floats, Predictions]:
    """Return the features (N, D) of every photo, and the predictions of the frozen head."""
    features, frozen_logits = [], []
    batches = loader(photos, batch_size, config.load(config.Train).workers)
    for images, _ in tqdm(batches, desc="extract features", unit="batch"):
        features.append(network.body(network.normalize(images)))
        frozen_logits.append(features[-1][:, :0] if network.frozen_head is None else network.frozen_head(features[-1]))
    labels = np.array(photos.labels)
    logits = np.zeros((len(labels), 1), np.float32)  # the head is untrained
    return torch.cat(features).numpy(), Predictions(logits, torch.cat(frozen_logits).numpy(), labels)


def label_probabilities(features: Floats, labels: Labels, groups: list[str]) -> Floats:
    """Return the probability (N,) of each photo's label, fitted on folds without the photo and its duplicates."""
    probe = make_pipeline(StandardScaler(), LogisticRegression(C=1e-3, max_iter=300))
    folds = GroupKFold(5)
    probabilities = cross_val_predict(probe, features, labels, groups=groups, cv=folds, method="predict_proba")
    return np.asarray(probabilities[np.arange(len(labels)), labels])


def write_list(suspects: list[tuple[str, int, float]], rows: list[dict[str, str]]) -> None:
    with SUSPECTS.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("doubt", "belief", "sha256", "id", "label", "split"))
        for kind, index, value in suspects:
            row = rows[index]
            writer.writerow((kind, f"{value:.4f}", *(row[key] for key in ("sha256", "id", "label", "split"))))


def draw_sheet(suspects: list[tuple[str, int, float]], photos: Photos) -> None:
    rows = -(-len(suspects) // 12)
    figure, axes = plt.subplots(rows, 12, figsize=(18, 1.8 * rows), squeeze=False)
    for axis in axes.flat:
        axis.axis("off")
    for axis, (kind, index, value) in zip(axes.flat, suspects, strict=False):
        pixels, _ = photos[index]
        axis.imshow(np.asarray(pixels).transpose(1, 2, 0))
        axis.set_title(f"{photos.ids[index].split('/', 1)[-1]}\n{kind} {value:.3f}", fontsize=7)
    figure.tight_layout()
    figure.savefig(SHEET, dpi=100)
    plt.close(figure)


if __name__ == "__main__":
    main()
