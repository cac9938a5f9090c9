"""Read and validate feedback, the true class of a photo; the monitoring report joins it with predictions."""

from collections.abc import Sequence

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from starlette.requests import Request

from lambda_app.errors import BadField, UnsupportedType
from lambda_app.metadata import Metadata
from lambda_app.schemas import Feedback, FeedbackResponse
from lambda_app.telemetry.request_log import Record
from lambda_app.uploads.reader import media_type, read_body
from lambda_app.web.openapi import BODY_ERRORS, FEEDBACK_BODY, describe

JSON = "application/json"
MAX_BYTES = 10_000  # enough for a UUID and a class name; FastAPI itself reads a body of any size


def add_feedback_route(app: FastAPI, metadata: Metadata) -> None:
    @app.post(
        "/feedback",
        **describe(
            "Feedback",
            "Report the true class of a photo: request_id of its prediction, and label",
            "Only `application/json` is accepted: pages of other sites can send anything else without a preflight "
            "request. Repeating a request is harmless: the last label counts. The monitoring report checks whether the "
            "prediction exists.",
            errors=BODY_ERRORS,
            body=FEEDBACK_BODY,
        ),
    )
    async def feedback(request: Request) -> FeedbackResponse:
        record: Record = request.state.record
        body = await read_feedback(request, metadata.class_names)
        record.feedback = {"feedback_for": str(body.request_id), "label": body.label}
        return FeedbackResponse(request_id=str(body.request_id), label=body.label, model_version=metadata.model_version)


async def read_feedback(request: Request, class_names: Sequence[str]) -> Feedback:
    """Return the feedback. Raise `UnsupportedType`, `PhotoTooLarge`, `RequestValidationError` or `BadField`.

    Only JSON is accepted: pages of other sites can send text and forms without a preflight request
    (https://fetch.spec.whatwg.org/#simple-header) and could forge feedback.
    """
    if media_type(request) != JSON:
        content_type = request.headers.get("content-type", "")
        raise UnsupportedType(f"content type is {content_type!r:.80}; expected {JSON}, with request_id and label")
    body = await read_body(request, MAX_BYTES)
    try:
        feedback = Feedback.model_validate_json(body)
    except ValidationError as error:
        raise RequestValidationError(error.errors()) from error
    if feedback.label not in class_names:
        raise BadField(f"label is {feedback.label!r}; expected one of {', '.join(class_names)}")
    return feedback
