"""Define the record of one prediction. Serving logs it, the batch stores it, and the drift reference contains it."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lambda_app.classifier import Classifier, Outputs, Prediction
from lambda_app.preprocess import Photo
from lambda_app.signals import measure_signals


@dataclass(frozen=True)
class PredictionRecord:
    """A prediction and the measurements that describe it."""

    prediction: Prediction
    outputs: Outputs  # N = 1
    signals: dict[str, float]
    inference_ms: float  # time of the network run, divided by its number of photos
    photo_fields: Mapping[str, Any]
    upright_size: tuple[int, int] | None = None  # of the photo, if its activation map is requested

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
    classifier: Classifier,
    images: Sequence[NDArray[np.uint8]],
    photo_fields: Sequence[Mapping[str, Any]],
    *,
    explain: bool = False,
) -> list[PredictionRecord]:
    """Run the network once on N images, each (3, S, S) RGB, 0..255. `photo_fields` has N entries."""
    start = time.perf_counter()
    outputs = classifier.run(np.stack(images), explain=explain)
    predictions = classifier.interpret(outputs)
    inference_ms = (time.perf_counter() - start) * 1000 / len(images)
    records = []
    for index, prediction in enumerate(predictions):
        own_outputs = outputs.select(index)
        signals = measure_signals(images[index], own_outputs)
        records.append(PredictionRecord(prediction, own_outputs, signals, inference_ms, photo_fields[index]))
    return records
