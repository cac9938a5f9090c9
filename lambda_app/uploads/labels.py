"""Validate feedback: the id of a prediction, and a label that is a class of the model."""

from collections.abc import Mapping, Sequence

from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError

from lambda_app.errors import BadField
from lambda_app.schemas import Feedback


def parse_feedback(body: bytes | Mapping[str, str], class_names: Sequence[str]) -> Feedback:
    """Return the feedback of a JSON body or of a form's fields. Raise `RequestValidationError` or `BadField`."""
    try:
        feedback = Feedback.model_validate_json(body) if isinstance(body, bytes) else Feedback.model_validate(body)
    except ValidationError as error:
        raise RequestValidationError(error.errors()) from error
    if feedback.label not in class_names:
        raise BadField(f"label is {feedback.label!r:.80}; expected one of {', '.join(class_names)}")
    return feedback
