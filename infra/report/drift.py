"""Has the world changed? The traffic's signals against a week that was good, or the test photos of the model.

The distance of a signal is the largest difference, between traffic and reference, of the share of photos below any of
the reference's quantiles: the two-sample statistic of Kolmogorov and Smirnov, read at 51 places. For the classes it is
the largest difference of a share. How far photos of one and the same distribution stray, of which traffic and reference
both are samples, is not looked up but tried: with normal numbers that vary together as the reference's photos do, so
signals that move together are not counted twice (the multiplier bootstrap of Chernozhukov, Chetverikov, Kato 2013).
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from infra.report.log_reader import SIGNALS, Column

NUMBERS = ("confidence", *SIGNALS, "unknown", "photo_bytes", "photo_width", "photo_height")
JUDGED = (*NUMBERS, "predicted_class")
# Of reports of traffic like the reference's, this share should alarm; of weeks of daily ones, which see most photos
# seven times, 0.6 % do with 500 photos a week and 0.8 % with 20,000 (simulated: test_drift.py); 1 % is promised.
ALARM_RATE = 0.0005
DRAWS = 20_000
RARE = 5  # photos
PLACES = np.linspace(0, 1, 51)  # all 1,636 of the reference would make a distance at most 0.02 larger


@dataclass(frozen=True)
class Reference:
    """The test photos as the function would log them (export/reference.py), or those of a good week (baseline.py)."""

    model_version: str
    columns: Mapping[str, Column]  # of JUDGED, and `label` of test photos; words are strings, all else is numbers

    def __len__(self) -> int:
        return len(self.columns["predicted_class"])

    @property
    def what(self) -> str:
        return "test photos" if "label" in self.columns else "photos of a good week"

    @property
    def accuracy(self) -> float:
        return float((self.columns["predicted_class"] == self.columns["label"]).mean())

    @classmethod
    def read(cls, path: Path, *, labelled: bool = True) -> "Reference":
        """Raises ValueError with a line that names the file and what it lacks."""
        try:
            return cls.parse(path.read_text(), labelled=labelled)
        except (OSError, ValueError, KeyError, TypeError) as error:
            command = "dvc repro reference" if labelled else "make baseline"
            said = f"{type(error).__name__} {error}"
            raise ValueError(f"{path}: {said}; expected the file that `{command}` writes") from None

    @classmethod
    def parse(cls, text: str, *, labelled: bool = True) -> "Reference":
        """Raises ValueError, KeyError or TypeError."""
        values = json.loads(text)
        columns = {name: np.array(values["columns"][name], float) for name in NUMBERS}
        words = ("predicted_class", "label") if labelled else ("predicted_class",)
        return cls(
            values["model_version"], columns | {name: np.array(values["columns"][name], object) for name in words}
        )


@dataclass(frozen=True)
class Signal:
    """What is asked about each photo: is the value at most this, for each of the edges; or is it this class?"""

    name: str
    edges: Column

    @classmethod
    def of(cls, name: str, values: Column) -> "Signal":
        words = values.dtype == object
        return cls(name, np.unique(values if words else np.quantile(values, PLACES, method="inverted_cdf")))

    def answers(self, values: Column) -> NDArray[np.bool_]:
        """(N, edges)"""
        asked = values[:, None] == self.edges if values.dtype == object else values[:, None] <= self.edges
        return np.asarray(asked, bool)

    def shares(self, values: Column) -> NDArray[np.float64]:
        """The mean of the answers of any number of photos, (edges,)."""
        if values.dtype == object:
            return np.array([(values == edge).mean() for edge in self.edges])
        return np.searchsorted(np.sort(values), self.edges, side="right") / len(values)

    def distance(self, ours: Column, theirs: Column) -> float:
        return float(np.abs(self.shares(ours) - self.shares(theirs)).max())


def judge(photos: Mapping[str, Column], reference: Reference) -> dict[str, dict[str, Any]]:
    """Of each signal how far it is from the reference, and how far it may be."""
    signals = [Signal.of(name, reference.columns[name]) for name in JUDGED]
    found = {}
    for signal, limit in zip(signals, limits(signals, reference, len(photos["predicted_class"])), strict=True):
        ours, theirs = photos[signal.name], reference.columns[signal.name]
        distance = signal.distance(ours, theirs)
        found[signal.name] = {
            "distance": distance,
            "limit": float(limit),
            "ratio": distance / float(limit),
            "drifted": bool(distance > limit),
        }
        if signal.name in NUMBERS:
            found[signal.name] |= {"mean": float(ours.mean()), "reference_mean": float(theirs.mean())}
    return found


def limits(signals: Sequence[Signal], reference: Reference, count: int) -> NDArray[np.float64]:
    """(signals,); that any one of them is passed by `count` photos like the reference has the chance ALARM_RATE."""
    asked = np.hstack([signal.answers(reference.columns[signal.name]) for signal in signals]).astype(np.float32)
    starts = np.cumsum([0, *(len(signal.edges) for signal in signals)])[:-1]
    of = len(reference)
    # The triangle has the covariances of all columns, in as many rows as there are columns.
    vary = np.linalg.qr(asked - asked.mean(axis=0), mode="r")
    drawn = np.random.default_rng(0).standard_normal((DRAWS, len(vary)), np.float32) @ vary
    distances = np.maximum.reduceat(np.abs(drawn, out=drawn), starts, axis=1) * np.sqrt((1 / count + 1 / of) / of)
    # (DRAWS, signals), each in units of its own 1 %, so that a signal that hardly varies is not drowned by the others.
    # What the reference never showed (of 300 photos, none unknown) still happens: some of either side are no change.
    own = np.maximum(np.quantile(distances, 0.99, axis=0), RARE * (1 / count + 1 / of))
    return np.asarray(own * np.quantile((distances / own).max(axis=1), 1 - ALARM_RATE))
