"""Read and validate feedback: the id of a prediction, and a label that is a class of the model."""

from collections.abc import Mapping, Sequence

from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from starlette.requests import Request

from lambda_app.errors import BadField, UnsupportedType
from lambda_app.schemas import Feedback
from lambda_app.uploads.photo import FORM
from lambda_app.uploads.reader import media_type, read_body

JSON = "application/json"
MAX_BYTES = 10_000  # enough for a UUID and a class name; FastAPI itself reads a body of any size


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
