"""Classify the photos of a request: decode, run the network, record. Every route that takes photos calls this module.

Decoding and the network run on a thread, which returns values; only the event loop writes to the request's record.
"""

import asyncio
import os
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from lambda_app.admission import Admission
from lambda_app.classifier import Classifier
from lambda_app.errors import PhotoTooLarge, RequestError
from lambda_app.prediction_record import PredictionRecord, classify, describe_photo
from lambda_app.preprocess import Photo, preprocess_from_header, read_header
from lambda_app.telemetry.request_log import RequestRecord

T = TypeVar("T")

# After this many seconds of decoding, no further photo of a request is decoded. The last one may take 2 s more, and
# Lambda's timeout is 15 s.
DECODING_S = 5


@dataclass(frozen=True)
class Decoded:
    """A decoded photo and its decoding time."""

    photo: Photo
    size: int  # bytes of the file
    seconds: float  # decoding time, excluding the wait for memory

    def describe(self, result: PredictionRecord) -> PredictionRecord:
        """Return the record of the photo's prediction with the fields of the photo."""
        photo_fields = describe_photo(self.photo, self.size, self.seconds)
        return replace(result, photo_fields=photo_fields, upright_size=self.photo.upright_size)


class Inference:
    """A classifier and its thread pool."""

    def __init__(self, classifier: Classifier, max_pixels: int) -> None:
        self.classifier = classifier
        self.max_pixels = max_pixels
        # Pillow and ONNX Runtime release the GIL, so a thread for each core uses all cores of a container behind
        # uvicorn. More threads would only hold more decoded photos. AnyIO's pool would import its back end during the
        # first request: 11 ms.
        self.executor = ThreadPoolExecutor(os.cpu_count() or 1)
        self.admission = Admission(os.cpu_count() or 1)

    async def classify_photo(self, data: bytes, record: RequestRecord, *, explain: bool = False) -> PredictionRecord:
        """Classify the only photo of a request. Raise `RequestError` if it cannot be classified."""
        [result] = await self.run_on_thread(record, partial(self._decode_and_classify, [data], explain=explain))
        if isinstance(result, RequestError):
            raise result
        return _add_to_record(result, record, record.request_id)

    async def classify_photos(
        self, photos: Sequence[bytes], record: RequestRecord, *, explain: bool = False
    ) -> list[PredictionRecord | RequestError]:
        """Classify the photos of a batch, in order. A photo that cannot be classified has an error in its place."""
        record.photos = len(photos)
        results = await self.run_on_thread(record, partial(self._decode_and_classify, photos, explain=explain))
        record.failed = [result.code for result in results if isinstance(result, RequestError)]
        return [
            result if isinstance(result, RequestError) else _add_to_record(result, record, str(uuid.uuid4()))
            for result in results
        ]

    async def classify_images(
        self, images: NDArray[np.uint8], record: RequestRecord, *, explain: bool = False
    ) -> list[PredictionRecord]:
        """Classify (N, 3, S, S) RGB images that the client has decoded. Their records have no photo fields."""
        record.photos = len(images)
        work = partial(classify, self.classifier, list(images), explain=explain)
        results = await self.run_on_thread(record, work)
        return [_add_to_record(result, record, str(uuid.uuid4())) for result in results]

    async def run_on_thread(self, record: RequestRecord, work: Callable[[], T]) -> T:
        """Do the work on a thread, and return its result.

        Raise `Overloaded` after too long a wait, and `ClientDisconnect` if the client has left.
        """
        with self.admission.queue(record.is_disconnected) as turn:

            def take_turn() -> T:
                turn.check()
                return work()

            return await asyncio.get_running_loop().run_in_executor(self.executor, take_turn)

    def _decode_and_classify(self, photos: Sequence[bytes], *, explain: bool) -> list[PredictionRecord | RequestError]:
        results = self._decode(photos)
        images = [result.photo.pixels for result in results if isinstance(result, Decoded)]
        predictions = iter(classify(self.classifier, images, explain=explain))
        return [result.describe(next(predictions)) if isinstance(result, Decoded) else result for result in results]

    def _decode(self, photos: Sequence[bytes]) -> list[Decoded | RequestError]:
        """Decode each photo until the request's decoding budget is spent."""
        results: list[Decoded | RequestError] = []
        began, spent = time.perf_counter(), 0.0
        for data in photos:
            if results and spent > DECODING_S:
                message = (
                    f"earlier photos used up the {DECODING_S} s decoding budget; send this photo in its own request"
                )
                results.append(PhotoTooLarge(message))
                continue
            times: list[float] = []  # without the wait for memory
            try:
                with _timed(times):
                    header = read_header(data, self.max_pixels)
                waited = time.perf_counter() - began - spent - sum(times)  # by earlier photos, for memory
                with self.admission.reserve(header.memory, waited), _timed(times):
                    photo = preprocess_from_header(header, self.classifier.metadata.image_size)
            except RequestError as error:
                results.append(error)
            else:
                results.append(Decoded(photo, len(data), sum(times)))
            spent += sum(times)
        return results


@contextmanager
def _timed(times: list[float]) -> Iterator[None]:
    """Append the seconds that the block takes, also if it raises an error."""
    start = time.perf_counter()
    try:
        yield
    finally:
        times.append(time.perf_counter() - start)


def _add_to_record(result: PredictionRecord, record: RequestRecord, request_id: str) -> PredictionRecord:
    """Add a prediction to the request's record. Each photo of a batch has its own id."""
    record.predictions.append({"request_id": request_id} | result.log_fields())
    return replace(result, request_id=request_id)
