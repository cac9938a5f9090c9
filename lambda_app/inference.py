"""Photos to predictions, off the event loop: the one way in for every route that takes photos."""

import asyncio
import os
import time
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from lambda_app.admission import Admission, Turn
from lambda_app.classifier import Classifier, Outputs, Prediction
from lambda_app.errors import PhotoTooLarge, RequestError
from lambda_app.preprocess import Photo, preprocess_header, read_header
from lambda_app.signals import signals
from lambda_app.telemetry.request_log import Record

T = TypeVar("T")

# Of one request: Lambda's timeout is 15 s, and a photo may take 2 s.
DECODING_S = 5
# Photos in one run of the network. Without an arena, a photo in a run of 8 takes twice as long as in a run of 4; with
# one, runs of 8 save nothing (infra/bench/RESULTS.md).
CHUNK = 4


@dataclass(frozen=True)
class Classified:
    """A photo's prediction, and the id by which feedback names it."""

    request_id: str
    prediction: Prediction
    outputs: Outputs  # of it alone
    log_fields: dict[str, Any]


@dataclass(frozen=True)
class Decoded:
    photo: Photo
    size: int  # bytes
    decode_ms: float

    def log_fields(self) -> dict[str, Any]:
        return {
            "photo_format": self.photo.format,
            "photo_bytes": self.size,
            "photo_width": self.photo.width,
            "photo_height": self.photo.height,
            "decode_ms": round(self.decode_ms, 3),
        }


class Inference:
    """The classifier and the threads that it works on."""

    def __init__(self, classifier: Classifier, max_pixels: int) -> None:
        self.classifier = classifier
        self.max_pixels = max_pixels
        # Threads, so that a container behind uvicorn uses all its cores (Pillow and ONNX Runtime release the GIL), and
        # no more: each may hold a decoded photo. Not AnyIO's: the first request would import its back end, 11 ms.
        self.threads = ThreadPoolExecutor(os.cpu_count() or 1)
        self.admission = Admission(os.cpu_count() or 1)

    async def one(self, data: bytes, record: Record) -> Prediction:
        """The request's only photo. Raises RequestError."""
        [answer] = await self._in_turn(record, self._classify, [data])
        if isinstance(answer, RequestError):
            raise answer
        return answer.prediction

    async def many(self, photos: Sequence[bytes], record: Record) -> list[Classified | RequestError]:
        """Photos that came together, in order; an error in the place of a bad one."""
        record.photos = len(photos)
        answers = await self._in_turn(record, self._classify, photos)
        record.failed = [answer.code for answer in answers if isinstance(answer, RequestError)]
        return answers

    async def images(self, images: NDArray[np.uint8], record: Record) -> list[Classified]:
        """(N, 3, S, S) RGB, which a client made of its photos itself: nothing is known of their files."""
        record.photos = len(images)
        return await self._in_turn(record, self._run, images, [{}] * len(images))

    async def _in_turn(self, record: Record, function: Callable[..., list[T]], *arguments: Any) -> list[T]:
        with self.admission.queue(record.is_disconnected) as turn:
            return await self._on_a_thread(self._take_turn, turn, function, *arguments, record)

    def _take_turn(self, turn: Turn, function: Callable[..., list[T]], *arguments: Any) -> list[T]:
        turn.check()
        return function(*arguments)

    async def _on_a_thread(self, function: Callable[..., list[T]], *arguments: Any) -> list[T]:
        return await asyncio.get_running_loop().run_in_executor(self.threads, function, *arguments)

    def _classify(self, photos: Sequence[bytes], record: Record) -> list[Classified | RequestError]:
        decoded = self._decode_all(photos)
        good = [each for each in decoded if isinstance(each, Decoded)]
        classified = iter(self._run([each.photo.pixels for each in good], [each.log_fields() for each in good], record))
        return [each if isinstance(each, RequestError) else next(classified) for each in decoded]

    def _decode_all(self, photos: Sequence[bytes]) -> list[Decoded | RequestError]:
        decoded: list[Decoded | RequestError] = []
        spent = 0.0
        for data in photos:
            if decoded and spent > DECODING_S:
                reason = (
                    f"earlier photos used up the {DECODING_S} s decoding budget; send this photo in its own request"
                )
                decoded.append(PhotoTooLarge(reason))
                continue
            answer, seconds = self._decode(data)
            decoded.append(answer)
            spent += seconds
        return decoded

    def _decode(self, data: bytes) -> tuple[Decoded | RequestError, float]:
        """Return the photo or why there is none, and the seconds that it took, without those of waiting for memory."""
        began = time.perf_counter()
        try:
            header = read_header(data, self.max_pixels)
            asked = time.perf_counter()
            with self.admission.reserve(header.memory):
                began += time.perf_counter() - asked
                photo = preprocess_header(header, self.classifier.metadata.image_size)
        except RequestError as error:
            return error, time.perf_counter() - began
        seconds = time.perf_counter() - began
        return Decoded(photo, len(data), seconds * 1000), seconds

    def _run(
        self, images: Sequence[NDArray[np.uint8]], about: Sequence[dict[str, Any]], record: Record
    ) -> list[Classified]:
        classified: list[Classified] = []
        for place in range(0, len(images), CHUNK):
            chunk = slice(place, place + CHUNK)
            classified += self._run_chunk(images[chunk], about[chunk], record)
        record.predictions = [{"request_id": each.request_id} | each.log_fields for each in classified]
        return classified

    def _run_chunk(
        self, images: Sequence[NDArray[np.uint8]], about: Sequence[dict[str, Any]], record: Record
    ) -> list[Classified]:
        began = time.perf_counter()
        outputs = self.classifier.run(np.stack(images))
        predictions = self.classifier.predictions(outputs)
        inference_ms = round((time.perf_counter() - began) * 1000 / len(images), 3)
        return [
            Classified(
                request_id=record.request_id if record.photos is None else str(uuid.uuid4()),
                prediction=prediction,
                outputs=(own := outputs.of(place)),
                log_fields={
                    "predicted_class": prediction.predicted_class,
                    "confidence": round(prediction.confidence, 6),
                    "unknown": prediction.unknown,
                    **about[place],
                    "inference_ms": inference_ms,
                    **signals(images[place], own),
                },
            )
            for place, prediction in enumerate(predictions)
        ]
