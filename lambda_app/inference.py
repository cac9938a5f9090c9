"""Classify the photos of a request: decode, run the network, record. Every route that takes photos calls this module.

Decoding and the network run on a thread, which returns values; only the event loop writes to the request's record.
"""

import asyncio
import os
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from lambda_app.admission import Admission
from lambda_app.classifier import Classifier, Outputs, Prediction
from lambda_app.errors import PhotoTooLarge, RequestError
from lambda_app.prediction_record import PredictionRecord, classify, describe_photo
from lambda_app.preprocess import Photo, preprocess_from_header, read_header
from lambda_app.telemetry.request_log import RequestRecord

T = TypeVar("T")

# The decoding budget of one request: Lambda's timeout is 15 s, and one photo may take 2 s.
DECODING_S = 5
# Photos per network run. Without ONNX Runtime's memory arena, runs of 8 take twice as long per photo as runs of 4;
# with it, they are no faster (infra/bench/RESULTS.md).
CHUNK = 4


@dataclass(frozen=True)
class Classified:
    """The prediction for one photo, and the id that feedback refers to."""

    request_id: str
    prediction: Prediction
    outputs: Outputs  # N = 1
    upright_size: tuple[int, int] | None = None  # width and height of the photo, if its activation map was requested


@dataclass(frozen=True)
class Decoded:
    """A decoded photo and its decoding time."""

    photo: Photo
    size: int  # bytes of the file
    seconds: float  # decoding time, excluding the wait for memory


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

    async def classify_photo(self, data: bytes, record: RequestRecord, *, explain: bool = False) -> Classified:
        """Classify the only photo of a request. Raise `RequestError` if it cannot be classified."""
        [result] = await self.run_on_thread(record, partial(self._decode_and_classify, [data], explain=explain))
        if isinstance(result, RequestError):
            raise result
        return _add_to_record(result, record, record.request_id)

    async def classify_photos(
        self, photos: Sequence[bytes], record: RequestRecord, *, explain: bool = False
    ) -> list[Classified | RequestError]:
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
    ) -> list[Classified]:
        """Classify (N, 3, S, S) RGB images that the client has decoded. Their records have no photo fields."""
        record.photos = len(images)
        work = partial(self._classify, list(images), [{}] * len(images), explain=explain)
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
        files = self._decode(photos)
        decoded = [file for file in files if isinstance(file, Decoded)]
        images = [file.photo.pixels for file in decoded]
        photo_fields = [describe_photo(file.photo, file.size, file.seconds) for file in decoded]
        classified = self._classify(images, photo_fields, explain=explain)
        if explain:
            sizes = [file.photo.upright_size for file in decoded]
            classified = [replace(each, upright_size=size) for each, size in zip(classified, sizes, strict=True)]
        records = iter(classified)
        return [file if isinstance(file, RequestError) else next(records) for file in files]

    def _decode(self, photos: Sequence[bytes]) -> list[Decoded | RequestError]:
        """Decode each photo until the request's decoding budget is spent."""
        files: list[Decoded | RequestError] = []
        waits: list[float] = []  # for memory
        spent = 0.0
        for data in photos:
            if files and spent > DECODING_S:
                message = (
                    f"earlier photos used up the {DECODING_S} s decoding budget; send this photo in its own request"
                )
                files.append(PhotoTooLarge(message))
                continue
            times: list[float] = []  # without `waits`
            try:
                with _timed(times):
                    header = read_header(data, self.max_pixels)
                with ExitStack() as reserved:
                    with _timed(waits):
                        reserved.enter_context(self.admission.reserve(header.memory, sum(waits)))
                    with _timed(times):
                        photo = preprocess_from_header(header, self.classifier.metadata.image_size)
            except RequestError as error:
                files.append(error)
            else:
                files.append(Decoded(photo, len(data), sum(times)))
            spent += sum(times)
        return files

    def _classify(
        self,
        images: Sequence[NDArray[np.uint8]],
        photo_fields: Sequence[dict[str, Any]],
        *,
        explain: bool,
    ) -> list[PredictionRecord]:
        """Run the network on chunks of the images, each (3, S, S)."""
        records: list[PredictionRecord] = []
        for start in range(0, len(images), CHUNK):
            chunk = slice(start, start + CHUNK)
            records += classify(self.classifier, images[chunk], photo_fields[chunk], explain=explain)
        return records


@contextmanager
def _timed(times: list[float]) -> Iterator[None]:
    """Append the seconds that the block takes, also if it raises an error."""
    start = time.perf_counter()
    try:
        yield
    finally:
        times.append(time.perf_counter() - start)


def _add_to_record(result: PredictionRecord, record: RequestRecord, request_id: str) -> Classified:
    """Add a prediction to the request's record. Each photo of a batch has its own id."""
    record.predictions.append({"request_id": request_id} | result.log_fields())
    return Classified(request_id, result.prediction, result.outputs, result.upright_size)
