"""What a photo really showed, as a client says later: read and checked here, joined with predictions by the report."""

from collections.abc import Sequence

from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from starlette.requests import Request

from lambda_app.errors import BadField
from lambda_app.schemas import Feedback

MAX_BYTES = 10_000  # a UUID and a class name; FastAPI itself would read a body of any size


async def read_feedback(request: Request, class_names: Sequence[str]) -> Feedback:
    """Raises RequestValidationError or BadField."""
    body = b""
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and float(announced) > MAX_BYTES:  # int() refuses 4,300 digits
        raise BadField(f"the body has {announced:.20} bytes; expected at most {MAX_BYTES}, of JSON")
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BYTES:
            raise BadField(f"the body has {len(body)} bytes or more; expected at most {MAX_BYTES}, of JSON")
    try:
        feedback = Feedback.model_validate_json(body)
    except ValidationError as error:
        raise RequestValidationError(error.errors()) from error
    if feedback.label not in class_names:
        raise BadField(f"label is {feedback.label!r}; expected one of {', '.join(class_names)}")
    return feedback
