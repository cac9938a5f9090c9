"""Define the record of one prediction. Serving logs it, the batch stores it, and the drift reference contains it."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lambda_app.classifier import Classifier
from lambda_app.outputs import Outputs, Prediction, interpret
from lambda_app.preprocess import Photo
from lambda_app.signals import measure_signals

# Images per run of the network. Runs of 4 are no faster and hold 10 MB more; larger runs are slower (RESULTS.md of
# infra/bench, Latency and memory by photo and batch size).
CHUNK = 2


@dataclass(frozen=True)
class PredictionRecord:
    """A prediction and the measurements that describe it."""

    prediction: Prediction
    outputs: Outputs  # N = 1
    signals: dict[str, float]
    inference_ms: float  # time of the network run, divided by its number of photos
    photo_fields: Mapping[str, Any] = field(default_factory=dict)  # see `describe_photo`
    upright_size: tuple[int, int] | None = None  # to scale the activation map; None without a photo
    request_id: str = ""  # for feedback; only served predictions have one

    def log_fields(self) -> dict[str, Any]:
        """Return the log fields of the prediction."""
        return {
            "predicted_class": self.prediction.predicted_class,
            "confidence": round(self.prediction.confidence, 6),
            "unknown": self.prediction.unknown,
            **self.photo_fields,
            "inference_ms": round(self.inference_ms, 3),
            **self.signals,
        }


def describe_photo(photo: Photo, size: int, decode_s: float) -> dict[str, Any]:
    """Return the log fields of a photo whose file has `size` bytes and was decoded in `decode_s` seconds."""
    return {
        "photo_format": photo.format,
        "photo_bytes": size,
        "photo_width": photo.width,
        "photo_height": photo.height,
        "decode_ms": round(decode_s * 1000, 3),
    }


def classify(
    classifier: Classifier, images: Sequence[NDArray[np.uint8]], *, explain: bool = False
) -> list[PredictionRecord]:
    """Run the network on images, each (3, S, S) RGB, 0..255, at most `CHUNK` at a time."""
    records = []
    for first in range(0, len(images), CHUNK):
        chunk = images[first : first + CHUNK]
        start = time.perf_counter()
        outputs = classifier.run(np.stack(chunk), explain=explain)
        predictions = interpret(outputs, classifier.metadata)
        inference_ms = (time.perf_counter() - start) * 1000 / len(chunk)
        for index, prediction in enumerate(predictions):
            own_outputs = outputs.select(index)
            signals = measure_signals(chunk[index], own_outputs)
            records.append(PredictionRecord(prediction, own_outputs, signals, inference_ms))
    return records
