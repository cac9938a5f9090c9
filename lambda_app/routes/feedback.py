"""The route for feedback, the true class of a photo. The monitoring report joins feedback with predictions."""

from collections.abc import Mapping, Sequence

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from starlette.requests import Request

from lambda_app.errors import BadField, ContributionsOff, UnsupportedType
from lambda_app.inference import Inference
from lambda_app.schemas import ContributionResponse, Feedback, FeedbackResponse
from lambda_app.settings import Settings
from lambda_app.telemetry.request_log import RequestRecord
from lambda_app.uploads.photo import FORM
from lambda_app.uploads.reader import media_type, read_body
from lambda_app.web.openapi import CONTRIBUTION_ERRORS, FEEDBACK_BODY, describe

JSON = "application/json"
MAX_BYTES = 10_000  # enough for a UUID and a class name; FastAPI itself reads a body of any size
FEEDBACK = describe(
    "Feedback",
    "Report the true class of a photo: request_id of its prediction, and label",
    "JSON has only the label. A form also contributes the photo to training, if the server accepts contributions. Its "
    "field `consent` must be `true`, because the server keeps a copy of the photo, without metadata and with at most "
    "512 pixels on its short side. Pages of other origins can send neither: JSON requires a preflight request, and "
    "forms are rejected. The request is idempotent: the last label counts, and the same photo is kept once. The "
    "monitoring report checks whether the prediction exists.",
    errors=CONTRIBUTION_ERRORS,
    body=FEEDBACK_BODY,
)


def add_feedback_route(app: FastAPI, inference: Inference, settings: Settings) -> None:
    metadata = inference.classifier.metadata
    contributor = None
    if settings.contributions:  # imported only if used, for a faster cold start
        from lambda_app.contributions.contributor import Contributor  # noqa: PLC0415

        contributor = Contributor(inference, settings)

    @app.post("/feedback", **FEEDBACK)
    async def feedback(request: Request) -> ContributionResponse | FeedbackResponse:
        record: RequestRecord = request.state.record
        if media_type(request) != FORM:
            body = await read_feedback(request, metadata.class_names)
            record.feedback = {"feedback_for": str(body.request_id), "label": body.label}
            return FeedbackResponse(**_answer(body))
        if contributor is None:
            raise ContributionsOff(
                f"contributions are off: this server keeps no photos; send only request_id and label, as {JSON}"
            )
        body, kept = await contributor.accept(request)
        record.feedback = {"feedback_for": str(body.request_id), "label": body.label, "contribution": kept.digest}
        return ContributionResponse(**_answer(body), contribution=kept.digest)

    def _answer(body: Feedback) -> dict[str, str]:
        return {
            "request_id": str(body.request_id),
            "label": body.label,
            "model_version": metadata.model_version,
        }


async def read_feedback(request: Request, class_names: Sequence[str]) -> Feedback:
    """Return the feedback. Raise `UnsupportedType`, `PhotoTooLarge`, `RequestValidationError` or `BadField`.

    Only JSON is accepted, because pages of other origins can send text and forms without a preflight request
    (https://fetch.spec.whatwg.org/#simple-header), and could forge feedback.
    """
    if media_type(request) != JSON:
        content_type = request.headers.get("content-type", "")
        raise UnsupportedType(
            f"content type is {content_type!r:.80}; expected {JSON}, with request_id and label, or {FORM}, with a photo"
        )
    return parse_feedback(await read_body(request, MAX_BYTES), class_names)


def parse_feedback(body: bytes | Mapping[str, str], class_names: Sequence[str]) -> Feedback:
    """Return the feedback of a JSON body or of a form's fields. Raise `RequestValidationError` or `BadField`."""
    try:
        feedback = Feedback.model_validate_json(body) if isinstance(body, bytes) else Feedback.model_validate(body)
    except ValidationError as error:
        raise RequestValidationError(error.errors()) from error
    if feedback.label not in class_names:
        raise BadField(f"label is {feedback.label!r:.80}; expected one of {', '.join(class_names)}")
    return feedback
