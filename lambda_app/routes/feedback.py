"""The route for feedback, the true class of a photo. The monitoring report joins feedback with predictions."""

from fastapi import FastAPI
from starlette.requests import Request

from lambda_app.errors import ContributionsOff
from lambda_app.inference import Inference
from lambda_app.schemas import ContributionResponse, Feedback, FeedbackResponse
from lambda_app.settings import Settings
from lambda_app.telemetry.request_log import RequestRecord
from lambda_app.uploads.feedback_body import JSON, read_feedback
from lambda_app.uploads.photo import FORM
from lambda_app.uploads.reader import media_type
from lambda_app.web.openapi import CONTRIBUTION_ERRORS, FEEDBACK_BODY, describe

FEEDBACK = describe(
    "Feedback",
    "Report the true class of a photo: request_id of its prediction, and label",
    "A JSON body sends only feedback. A form also contributes the photo to training, if the server accepts "
    "contributions. Its field `consent` must be `true`, because the server keeps a copy of the photo, without metadata "
    "and with at most 512 pixels on its short side. Pages of other origins can send neither: JSON requires a preflight "
    "request, and forms are rejected. The request is idempotent: the last label counts, and the same photo "
    "is kept once. The monitoring report checks whether the prediction exists.",
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
