"""Accept contributed photos: read the form, copy and classify the photo, and store the copy."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial

from starlette.requests import Request

from lambda_app.contributions.acceptance import HourlyQuota, reject_cross_origin
from lambda_app.contributions.contribution import Contribution, copy_photo
from lambda_app.contributions.stores import open_store
from lambda_app.errors import NoConsent, StorageFailed
from lambda_app.inference import Inference
from lambda_app.outputs import Prediction
from lambda_app.preprocess import preprocess, read_header
from lambda_app.schemas import Feedback
from lambda_app.settings import Settings, SettingsError
from lambda_app.telemetry.request_log import RequestRecord
from lambda_app.uploads.feedback_body import parse_feedback
from lambda_app.uploads.photo import read_photo_form

FIELDS = ("label", "request_id", "consent")


class Contributor:
    """Accept the contributed photos of an app, within its quota."""

    def __init__(self, inference: Inference, settings: Settings) -> None:
        self.inference, self.max_bytes = inference, settings.max_image_bytes
        self.metadata = inference.classifier.metadata
        check_names(self.metadata.class_names)
        self.store = open_store(settings.contributions)
        self.quota = HourlyQuota(settings.contributions_per_hour)

    async def accept(self, request: Request) -> tuple[Feedback, Contribution]:
        """Store the photo of the form, and return it with the feedback. Raise `RequestError`."""
        record: RequestRecord = request.state.record
        reject_cross_origin(request)
        photo, fields = await read_photo_form(request, self.max_bytes, FIELDS)
        feedback = read_fields(fields, self.metadata.class_names)
        with self.quota.reserve():
            copy, prediction = await self.inference.run_on_thread(record, partial(self._copy_and_classify, photo))
            contribution = Contribution(
                photo=copy,
                label=feedback.label,
                request_id=str(feedback.request_id),
                prediction=prediction.predicted_class,
                confidence=prediction.confidence,
                model_version=self.metadata.model_version,
                time=datetime.now(UTC),
            )
            try:
                await asyncio.to_thread(self.store.put, contribution)
            except StorageFailed as error:
                record.storage_error = error.reason
                raise
        return feedback, contribution

    def _copy_and_classify(self, data: bytes) -> tuple[bytes, Prediction]:
        """Return the clean copy and its prediction. What the client states about the prediction is ignored."""
        inference = self.inference
        header = read_header(data, inference.max_pixels)
        with inference.admission.reserve(header.memory):
            copy = copy_photo(header)
        pixels = preprocess(copy, self.metadata.image_size, inference.max_pixels).pixels
        return copy, inference.classifier.predict(pixels)


def check_names(class_names: Sequence[str]) -> None:
    """Raise `SettingsError` if a class name is not valid as the name of a folder."""
    if invalid := [name for name in class_names if "/" in name or name in {".", ".."}]:
        raise SettingsError(
            f"CONTRIBUTIONS is set, but the model has the class {invalid[0]!r}; expected class names that are valid "
            "as names of folders"
        )


def read_fields(fields: dict[str, str], class_names: Sequence[str]) -> Feedback:
    """Return the feedback in the form's fields. Raise `NoConsent`, `RequestValidationError` or `BadField`."""
    if fields.pop("consent", None) != "true":
        raise NoConsent(
            "the form has no consent=true; expected it with a photo, because the server keeps the photo for training: "
            "ask the person who sends it, or send only label and request_id, as application/json"
        )
    return parse_feedback(fields, class_names)
