"""Audit contributions together with photos of the training split.

Labels are judged by the method of `make suspects`, and unfamiliar photos by a quantile of the training photos.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from training import config
from training.calibration import familiarity, fit_class_familiarity
from training.harvest.contributed_photo import Candidate
from training.harvest.decisions import ACCEPT, HOLD, REJECT
from training.manifest import list_classes
from training.model import build
from training.photo_dataset import Photos, Preprocessor, read_split, subsample
from training.source import Source
from training.split import Row
from training.tools.suspects import class_probabilities, extract_features

MAX_TRAINING_PHOTOS = 2000
FITTED_SHARE = 0.25  # contributions that take part in the fit, as a share of the training photos of their class
UNFAMILIAR_QUANTILE = 0.01  # photos less familiar than this quantile of the training photos are held


def audit(candidates: Sequence[Candidate], folder: Path, rows: list[Row], limits: config.Harvest) -> list[Candidate]:
    """Return the candidates with their doubt: 1 minus the probability of the label.

    Hold accepted ones whose label is improbable, and those that show none of the classes.

    `rows` is the manifest. Some contributions take part in the cross-validation, so that photos of a new kind are
    judged by others of this kind. They are few compared with the training photos, so that a flood of wrong labels
    cannot confirm itself. Rejected candidates, such as near duplicates of others, are not audited.
    """
    names = list_classes(rows)
    audited = {c.path: c.label for c in candidates if c.label in names and c.decision != REJECT}
    if not audited:
        return list(candidates)
    params, to_pixels = config.load(config.Train), Preprocessor(config.load(config.Evaluate).image_size)
    known = subsample(read_split(rows, "train", to_pixels), MAX_TRAINING_PHOTOS)
    new = Photos(Source(folder), audited, names, to_pixels)
    network = build(params.architecture, len(names), weights=params.weights).eval()
    batch_size = config.load(config.Evaluate).batch_size
    (known_features, known_predictions), (features, predictions) = (
        extract_features(network, photos, batch_size) for photos in (known, new)
    )
    labels = np.array([*known.labels, *new.labels])
    groups = {row.id: row.group for row in rows}
    is_fitted = np.concatenate([np.ones(len(known), bool), choose_fitted(new, Counter(known.labels))])
    all_probabilities = class_probabilities(
        np.concatenate([known_features, features]), labels, [*(groups[i] for i in known.ids), *new.ids], is_fitted
    )
    probabilities = all_probabilities[np.arange(len(labels)), labels][len(known) :]
    is_unfamiliar = np.zeros(len(new), bool)
    if network.frozen_head is not None:
        class_familiarity = fit_class_familiarity(known_predictions.frozen_logits)
        threshold = np.quantile(familiarity(known_predictions, class_familiarity), UNFAMILIAR_QUANTILE)
        is_unfamiliar = familiarity(predictions, class_familiarity) < threshold
    return _hold(candidates, dict(zip(new.ids, zip(probabilities, is_unfamiliar, strict=True), strict=True)), limits)


def choose_fitted(new: Photos, known: Counter[int]) -> NDArray[np.bool_]:
    """Return which contributions (N,) take part in the fit: of each class, `FITTED_SHARE` times its `known` photos.

    The hashes in the file names decide, because contributors cannot control them in practice.
    """
    is_fitted = np.zeros(len(new), bool)
    left = {label: int(count * FITTED_SHARE) for label, count in known.items()}
    for index in sorted(range(len(new)), key=lambda index: Path(new.ids[index]).stem):
        label = new.labels[index]
        is_fitted[index] = left.get(label, 0) > 0
        left[label] = left.get(label, 0) - 1
    return is_fitted


def _hold(
    candidates: Sequence[Candidate], judged: Mapping[str, tuple[float, bool]], limits: config.Harvest
) -> list[Candidate]:
    found = []
    for candidate in candidates:
        if candidate.path in judged:
            probability, is_unfamiliar = judged[candidate.path]
            candidate = replace(candidate, doubt=float(1 - probability))
            if candidate.decision == ACCEPT and probability < limits.min_label_probability:
                # Without the probability, which is in `doubt`: `make harvest` counts equal reasons.
                reason = f"the label has a probability below {limits.min_label_probability}"
                candidate = replace(candidate, decision=HOLD, reason=reason)
            elif candidate.decision == ACCEPT and is_unfamiliar:
                candidate = replace(candidate, decision=HOLD, reason="probably shows none of the classes")
        found.append(candidate)
    return found
