"""`make suspects`: find photos that are probably mislabeled, or that show none of the classes.

A logistic regression on the features of the pretrained network predicts the class of each photo. It is fitted only on
folds without the photo. The suspects are candidates: reviewers decide on each in artifacts/suspects.csv, and
`training.tools.apply_decisions` moves their decisions to data/set-aside.csv.
"""

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from cleanlab.filter import find_label_issues
from numpy.typing import NDArray
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from tqdm import tqdm

from training import config
from training.batches import loader
from training.calibration import familiarity, fit_class_familiarity
from training.manifest import list_classes, read_manifest
from training.model import build
from training.networks import Network
from training.photo_dataset import Photos, Preprocessor
from training.predictions import Floats, Labels, Predictions
from training.reviewed import read_reviewed
from training.source import PHOTOS, Source
from training.split import Row
from training.state import keep_freed_memory, release_freed_memory
from training.tools.suspect_list import (
    LABEL,
    SET_ASIDE,
    SUSPECTS,
    UNKNOWN,
    Suspect,
    find_decided,
    read_suspect_lines,
    write_suspects,
)
from training.tools.suspect_sheet import PER_PAGE, draw_pages

MAX_FOLDS = 5


def main() -> None:
    keep_freed_memory()
    find_decided(read_suspect_lines())  # raises UserError before minutes of work
    params, test = config.load(config.Train), config.load(config.Evaluate)
    rows = sorted(read_manifest(), key=lambda row: row.id)
    names = list_classes(rows)
    photos = Photos(Source(PHOTOS), {row.id: row.label for row in rows}, names, Preprocessor(test.image_size))
    network = build(params.architecture, len(names), weights=params.weights).eval()
    features, predictions = extract_features(network, photos, test.batch_size)
    groups = [row.group for row in rows]
    probabilities = class_probabilities(features, predictions.labels, groups)
    found = find_suspects(rows, names, probabilities, find_unfamiliar(predictions, groups))
    decided = find_decided(read_suspect_lines())  # people may have decided during the search
    suspects = number_undecided(found, decided.keys() | read_reviewed())
    write_suspects(suspects, decided.values())
    print(describe(suspects, len(photos), draw_pages(suspects, photos), len(decided)))


@torch.inference_mode()
def extract_features(network: Network, photos: Photos, batch_size: int) -> tuple[Floats, Predictions]:
    """Return the features (N, D) of every photo, and the predictions of the frozen head."""
    features, frozen_logits = [], []
    network = network.to(memory_format=torch.channels_last)  # on a CPU 0.7 of the time of NCHW
    release_freed_memory()
    batches = loader(photos, batch_size, config.load(config.Train).workers)
    for images, _ in tqdm(batches, desc="extract features", unit="batch"):
        images = images.to(memory_format=torch.channels_last)
        features.append(network.body(network.normalize(images)))
        frozen_logits.append(features[-1][:, :0] if network.frozen_head is None else network.frozen_head(features[-1]))
    labels = np.array(photos.labels)
    logits = np.zeros((len(labels), 1), np.float32)  # the head is untrained
    return torch.cat(features).numpy(), Predictions(logits, torch.cat(frozen_logits).numpy(), labels)


def class_probabilities(
    features: Floats, labels: Labels, groups: Sequence[str], is_fitted: NDArray[np.bool_] | None = None
) -> Floats:
    """Return the probability of each class (N, C), fitted on folds without the photo and its duplicates.

    A class that the other folds lack has a probability of 0. Photos whose `is_fitted` (N,) is false are only judged;
    by default, none are.
    """
    probabilities = np.zeros((len(labels), labels.max() + 1))
    for fold, judge in split_folds(labels, groups):
        fit = fold if is_fitted is None else fold[is_fitted[fold]]
        several = len(set(labels[fit])) > 1
        model = LogisticRegression(C=1e-3, max_iter=300) if several else DummyClassifier()
        probe = make_pipeline(StandardScaler(), model).fit(features[fit], labels[fit])
        probabilities[judge[:, None], probe.classes_] = probe.predict_proba(features[judge])
    return probabilities


def find_unfamiliar(predictions: Predictions, groups: Sequence[str]) -> Floats:
    """Return 1 - familiarity (N,) of the photos that probably show none of the classes, and 0 for all others.

    The limit is the familiarity of a photo to which the frozen head gives every class the same probability. The
    familiar classes are fitted on folds without the photo and its duplicates: among a hundred photos, one sofa would
    make sofas familiar. Without a frozen head, no photo can be judged.

    Of 16,038 photos, 42 show neither cat nor dog. This rule lists 46 photos, 37 of them correctly. The threshold of
    `training.calibration` lists 139, 40 of them correctly, because it is a fixed share of the photos. After these
    decisions are applied, a new search lists 11 photos, of which 10 show a pet.
    """
    unfamiliar = np.zeros(len(predictions.labels))
    for fit, judge in split_folds(predictions.labels, groups):
        class_familiarity = fit_class_familiarity(predictions.frozen_logits[fit])
        if class_familiarity:
            judged = replace(predictions, frozen_logits=predictions.frozen_logits[judge])
            found = familiarity(judged, class_familiarity)
            unfamiliar[judge] = np.where(found < np.mean(class_familiarity), 1 - found, 0)
    return unfamiliar


def split_folds(labels: Labels, groups: Sequence[str]) -> Iterator[tuple[Labels, Labels]]:
    """Yield the indices of the photos to fit on and of those to judge; duplicates, by group, are in one fold."""
    smallest = min(len(set(np.array(groups)[labels == label])) for label in set(labels))
    folds = StratifiedGroupKFold(min(max(smallest, 2), MAX_FOLDS))
    yield from folds.split(labels, labels, groups)


def find_suspects(
    rows: Sequence[Row], names: Sequence[str], probabilities: Floats, unfamiliar: Floats
) -> list[Suspect]:
    """Return the photos that two rules select, most suspicious ones first; a photo has at most one kind.

    `unknown`: see `find_unfamiliar`, which gives `unfamiliar` (N,).

    `label`: confident learning (Northcutt et al. 2021) estimates how many labels are wrong. It counts a photo if
    another class is at least as probable as that class is on average on its own photos, so the threshold is lower for
    classes that are hard to recognize. The suspects are as many photos as it counts, those with the least probable
    labels. Of 37 breeds with 20 photos each, 37 labels were replaced at random: this rule lists 37 photos, 34 of them
    mislabeled; listing the counted photos themselves would find 16 in 37. If the labels are replaced with those of
    similar breeds, it finds 20 in 44 instead of 16 in 46.
    """
    labels = np.array([names.index(row.label) for row in rows])
    best = probabilities.argmax(axis=1)
    is_mislabeled = find_label_issues(labels, probabilities, filter_by="low_self_confidence", n_jobs=1) & (
        best != labels
    )
    found = []
    for index, row in enumerate(rows):
        if unfamiliar[index]:
            kind, suggestion, probability = UNKNOWN, SET_ASIDE, unfamiliar[index]
        elif is_mislabeled[index]:
            kind, suggestion, probability = LABEL, names[best[index]], probabilities[index, best[index]]
        else:
            continue
        own = float(probabilities[index, labels[index]])
        found.append(
            Suspect(
                number=0,
                id=row.id,
                label=row.label,
                split=row.split,
                sha256=row.sha256,
                kind=kind,
                suggestion=suggestion,
                label_probability=own,
                suggestion_probability=float(probability),
            )
        )
    return sorted(found, key=rank)


def rank(suspect: Suspect) -> tuple[str, float]:
    """Return the key by which the suspects of each kind are sorted, most suspicious ones first."""
    own = suspect.label_probability if suspect.kind == LABEL else 0
    return suspect.kind, own - suspect.suggestion_probability


def number_undecided(suspects: Sequence[Suspect], decided: Collection[str]) -> list[Suspect]:
    """Return the suspects whose hash is not in `decided`, with numbers; of copies the first, as one decision counts."""
    first: dict[str, Suspect] = {}
    for suspect in suspects:
        if suspect.sha256 not in decided:
            first.setdefault(suspect.sha256, suspect)
    return [replace(suspect, number=number) for number, suspect in enumerate(first.values(), 1)]


def describe(suspects: Sequence[Suspect], photos: int, pages: Sequence[Path], pending: int) -> str:
    """Return what was found and what to do next. `pending` counts the decisions that were not applied yet."""
    kept = (
        f"\n{SUSPECTS} has {pending} decisions that are not applied yet: run `make suspects APPLY=1`" if pending else ""
    )
    if not suspects:
        return f"none of the {photos:,} photos is suspicious{kept}"
    kinds = Counter(suspect.kind for suspect in suspects)
    hidden = len(suspects) - len(pages) * PER_PAGE
    rest = f"; {hidden:,} further suspects are only in {SUSPECTS}" if hidden > 0 else ""
    return (
        f"{len(suspects):,} of {photos:,} photos are suspicious: {kinds[LABEL]:,} probably show another class, "
        f"{kinds[UNKNOWN]:,} none of the classes\n"
        f"pictures: {', '.join(map(str, pages))} ({PER_PAGE} a page{rest})\n"
        f"write the right class or '{SET_ASIDE}' into the column `decision` of {SUSPECTS}, then run "
        f"`make suspects APPLY=1`{kept}"
    )


if __name__ == "__main__":
    main()
