"""Detect drift: compare the signals of the traffic with a baseline week, or with the test photos of the model.

The distance of a signal is the two-sample Kolmogorov-Smirnov statistic, evaluated at 51 quantiles of the reference: the
largest difference between the shares of photos at or below a value. For classes, it is the largest difference between
two shares. The limits come from the multiplier bootstrap (Chernozhukov, Chetverikov, Kato 2013): it simulates distances
between two samples of one distribution, using normal variables with the covariance of the reference photos. Correlated
signals are therefore not counted twice.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from infra.report.log_reader import Column
from infra.report.reference import Reference
from lambda_app.signals import NUMERIC_FIELDS

SIGNAL_COLUMNS = (*NUMERIC_FIELDS, "predicted_class")
# The false-alarm rate per report. Each photo appears in seven daily reports, so the weekly rate is 0.6 % with 500
# photos per week and 0.8 % with 20,000 (simulated in test_drift.py). The documented bound is 1 %.
ALARM_RATE = 0.0005
DRAWS = 20_000
RARE_PHOTOS = 5  # photos; the lower bound of a signal's scale in `drift_limits`
QUANTILES = np.linspace(0, 1, 51)  # evaluating at all 1,636 reference photos raises a distance by at most 0.02


@dataclass(frozen=True)
class Signal:
    """A signal and its edges: quantiles of a numeric signal, or the class names."""

    name: str
    edges: Column

    @classmethod
    def from_values(cls, name: str, values: Column) -> "Signal":
        is_class = values.dtype == object
        return cls(name, np.unique(values if is_class else np.quantile(values, QUANTILES, method="inverted_cdf")))

    def indicators(self, values: Column) -> NDArray[np.bool_]:
        """Return (N, edges): whether each value is at most each edge, or is that class."""
        matches = values[:, None] == self.edges if values.dtype == object else values[:, None] <= self.edges
        return np.asarray(matches, bool)

    def shares(self, values: Column) -> NDArray[np.float64]:
        """Return (edges,): the mean of the indicators."""
        if values.dtype == object:
            return np.array([(values == edge).mean() for edge in self.edges])
        return np.searchsorted(np.sort(values), self.edges, side="right") / len(values)

    def distance(self, values: Column, reference_values: Column) -> float:
        return float(np.abs(self.shares(values) - self.shares(reference_values)).max())


def measure_drift(photos: Mapping[str, Column], reference: Reference) -> dict[str, dict[str, Any]]:
    """Return the distance of each signal from the reference, and its limit."""
    signals = [Signal.from_values(name, reference.columns[name]) for name in SIGNAL_COLUMNS]
    limits = drift_limits(signals, reference, len(photos["predicted_class"]))
    figures = {}
    for signal, limit in zip(signals, limits, strict=True):
        values, reference_values = photos[signal.name], reference.columns[signal.name]
        distance = signal.distance(values, reference_values)
        figures[signal.name] = {
            "distance": distance,
            "limit": float(limit),
            "ratio": distance / float(limit),
            "drifted": bool(distance > limit),
        }
        if signal.name in NUMERIC_FIELDS:
            means = {"mean": float(values.mean()), "reference_mean": float(reference_values.mean())}
            figures[signal.name] |= means
    return figures


def drift_limits(signals: Sequence[Signal], reference: Reference, count: int) -> NDArray[np.float64]:
    """Return (signals,) limits.

    `count` photos from the reference distribution exceed at least one limit with probability ALARM_RATE.
    """
    indicators = np.hstack([signal.indicators(reference.columns[signal.name]) for signal in signals]).astype(np.float32)
    starts = np.cumsum([0, *(len(signal.edges) for signal in signals)])[:-1]
    size = len(reference)
    # R of the QR decomposition has the same covariance as the indicators, but at most as many rows as columns, so fewer
    # normal draws are needed.
    factor = np.linalg.qr(indicators - indicators.mean(axis=0), mode="r")
    draws = np.random.default_rng(0).standard_normal((DRAWS, len(factor)), np.float32) @ factor
    spread = np.sqrt((1 / count + 1 / size) / size)
    distances = np.maximum.reduceat(np.abs(draws, out=draws), starts, axis=1) * spread  # (DRAWS, signals)
    # Scale each signal by its own 99 % quantile, so that signals with a small variance keep a small limit. The lower
    # bound prevents alarms about a few rare photos, such as one unknown photo in 300, that the reference does not
    # contain.
    scales = np.maximum(np.quantile(distances, 0.99, axis=0), RARE_PHOTOS * (1 / count + 1 / size))
    return np.asarray(scales * np.quantile((distances / scales).max(axis=1), 1 - ALARM_RATE))
