"""Read and validate feedback, the true class of a photo; the monitoring report joins it with predictions."""

from collections.abc import Sequence

from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from starlette.requests import Request

from lambda_app.errors import BadField, UnsupportedType
from lambda_app.schemas import Feedback
from lambda_app.uploads.reader import media_type, read_body

JSON = "application/json"
MAX_BYTES = 10_000  # enough for a UUID and a class name; FastAPI itself reads a body of any size


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
