"""Photos to predictions, off the event loop: the one way in for every route that takes photos."""

import asyncio
import os
import time
import uuid
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from lambda_app.classifier import Classifier, Prediction
from lambda_app.errors import RequestError
from lambda_app.preprocess import Photo, preprocess
from lambda_app.signals import signals
from lambda_app.telemetry import Record


@dataclass(frozen=True)
class Classified:
    """A photo's prediction, and the id by which feedback names it."""

    request_id: str
    prediction: Prediction


@dataclass(frozen=True)
class Decoded:
    photo: Photo
    size: int  # bytes
    decode_ms: float


class Inference:
    """The classifier and the threads that it works on."""

    def __init__(self, classifier: Classifier, max_pixels: int) -> None:
        self.classifier = classifier
        self.max_pixels = max_pixels
        # Threads, so that a container behind uvicorn uses all its cores (Pillow and ONNX Runtime release the GIL), and
        # no more: each may hold a decoded photo. Not AnyIO's: the first request would import its back end, 11 ms.
        self.threads = ThreadPoolExecutor(os.cpu_count() or 1)

    async def one(self, data: bytes, record: Record) -> Prediction:
        """The request's only photo. Raises RequestError."""
        [answer] = await self._on_a_thread([data], record)
        if isinstance(answer, RequestError):
            raise answer
        return answer.prediction

    async def many(self, photos: Sequence[bytes], record: Record) -> list[Classified | RequestError]:
        """Photos that came together, in order, as one batch of the network; an error in the place of a bad one."""
        record.photos = len(photos)
        answers = await self._on_a_thread(photos, record)
        record.failed = [answer.code for answer in answers if isinstance(answer, RequestError)]
        return answers

    async def _on_a_thread(self, photos: Sequence[bytes], record: Record) -> list[Classified | RequestError]:
        return await asyncio.get_running_loop().run_in_executor(self.threads, self._classify, photos, record)

    def _classify(self, photos: Sequence[bytes], record: Record) -> list[Classified | RequestError]:
        decoded = [self._decode(data) for data in photos]
        good = [each for each in decoded if isinstance(each, Decoded)]
        classified = iter(self._run(good, record) if good else [])
        return [each if isinstance(each, RequestError) else next(classified) for each in decoded]

    def _decode(self, data: bytes) -> Decoded | RequestError:
        began = time.perf_counter()
        try:
            photo = preprocess(data, self.classifier.metadata.image_size, self.max_pixels)
        except RequestError as error:
            return error
        return Decoded(photo, len(data), (time.perf_counter() - began) * 1000)

    def _run(self, decoded: Sequence[Decoded], record: Record) -> list[Classified]:
        began = time.perf_counter()
        outputs = self.classifier.run(np.stack([each.photo.pixels for each in decoded]))
        predictions = self.classifier.predictions(outputs)
        inference_ms = (time.perf_counter() - began) * 1000 / len(decoded)
        ids = [record.request_id] if record.photos is None else [str(uuid.uuid4()) for _ in decoded]
        record.predictions = [
            {"request_id": request_id}
            | _log_fields(each, prediction)
            | {"decode_ms": round(each.decode_ms, 3), "inference_ms": round(inference_ms, 3)}
            | signals(each.photo.pixels, outputs.of(place))
            for place, (request_id, each, prediction) in enumerate(zip(ids, decoded, predictions, strict=True))
        ]
        return [Classified(*pair) for pair in zip(ids, predictions, strict=True)]


def _log_fields(decoded: Decoded, prediction: Prediction) -> dict[str, Any]:
    return {
        "predicted_class": prediction.predicted_class,
        "confidence": round(prediction.confidence, 6),
        "unknown": prediction.unknown,
        "photo_format": decoded.photo.format,
        "photo_bytes": decoded.size,
        "photo_width": decoded.photo.width,
        "photo_height": decoded.photo.height,
    }
