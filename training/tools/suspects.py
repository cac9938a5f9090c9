"""`make suspects`: photos whose label, or whose being a photo of any class, a network that never saw them doubts.

Each photo is judged by a logistic regression on the pretrained network's features, fitted on the other folds only
(Northcutt et al. 2021, "Confident Learning"). It finds candidates; what goes into data/set-aside.csv people decide.
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
from training.data import Photos, Upright, class_names, loader, read_manifest
from training.model import Floats, Labels, Scored, build
from training.networks import Network
from training.source import PHOTOS, Source
from training.state import keep_memory

SUSPECTS = Path("artifacts/suspects.csv")
SHEET = Path("artifacts/suspects.png")  # shows photos, so it stays out of Git
MOST = 60  # of each kind


def main() -> None:
    keep_memory()
    params, test = config.load(config.Train), config.load(config.Evaluate)
    rows = sorted(read_manifest(), key=lambda row: row["id"])
    names = class_names(rows)
    photos = Photos(Source(PHOTOS), {row["id"]: row["label"] for row in rows}, names, Upright(test.image_size))
    network = build(params.architecture, len(names), weights=params.weights).eval()
    features, scored = look(network, photos, test.batch_size)
    doubt = {"label": believed(features, scored.labels, [row["group"] for row in rows])}
    if network.memory is not None:
        doubt["photo"] = familiarity(scored, fit_familiar(scored.recalled))
    found = [
        (kind, index, float(belief[index])) for kind, belief in doubt.items() for index in np.argsort(belief)[:MOST]
    ]
    write(found, rows)
    draw(found, photos)
    print(f"{len(found)} suspects in {SUSPECTS}, to look at in {SHEET}")


@torch.inference_mode()
def look(network: Network, photos: Photos, batch_size: int) -> tuple[Floats, Scored]:
    """Features (n, D) of every photo, and what the pretraining's classifier says of them."""
    seen, recalled = [], []
    for images, _ in tqdm(loader(photos, batch_size, config.load(config.Train).workers), desc="look", unit="batch"):
        features = network.body(network.normalise(images))
        seen.append(features)
        recalled.append(features[:, :0] if network.memory is None else network.memory(features))
    labels = np.array(photos.labels)
    return torch.cat(seen).numpy(), Scored(np.zeros((len(labels), 1), np.float32), torch.cat(recalled).numpy(), labels)


def believed(features: Floats, labels: Labels, groups: list[str]) -> Floats:
    """(n,) the probability of each photo's own label, from folds without the photo and its duplicates."""
    probe = make_pipeline(StandardScaler(), LogisticRegression(C=1e-3, max_iter=300))
    folds = GroupKFold(5)
    beliefs = cross_val_predict(probe, features, labels, groups=groups, cv=folds, method="predict_proba")
    return np.asarray(beliefs[np.arange(len(labels)), labels])


def write(found: list[tuple[str, int, float]], rows: list[dict[str, str]]) -> None:
    with SUSPECTS.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("doubt", "belief", "sha256", "id", "label", "split"))
        for kind, index, belief in found:
            row = rows[index]
            writer.writerow((kind, f"{belief:.4f}", *(row[key] for key in ("sha256", "id", "label", "split"))))


def draw(found: list[tuple[str, int, float]], photos: Photos) -> None:
    rows = -(-len(found) // 12)
    figure, axes = plt.subplots(rows, 12, figsize=(18, 1.8 * rows), squeeze=False)
    for axis in axes.flat:
        axis.axis("off")
    for axis, (kind, index, belief) in zip(axes.flat, found, strict=False):
        pixels, _ = photos[index]
        axis.imshow(np.asarray(pixels).transpose(1, 2, 0))
        axis.set_title(f"{photos.ids[index].split('/', 1)[-1]}\n{kind} {belief:.3f}", fontsize=7)
    figure.tight_layout()
    figure.savefig(SHEET, dpi=100)
    plt.close(figure)


if __name__ == "__main__":
    main()
