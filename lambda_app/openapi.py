"""What the code of the routes does not say of them: request bodies and errors, for whoever reads /docs."""

from typing import Any

from lambda_app.schemas import ErrorResponse, Feedback

PHOTO_BODY = {
    "required": True,
    "content": {
        "image/*": {"schema": {"type": "string", "format": "binary"}},
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "required": ["file"],
                "properties": {"file": {"type": "string", "format": "binary"}},
            }
        },
    },
}
PHOTO_ERRORS: dict[int | str, dict[str, Any]] = {
    400: {"model": ErrorResponse, "description": "no photo, or a form that cannot be read"},
    413: {"model": ErrorResponse, "description": "too many bytes or pixels"},
    415: {"model": ErrorResponse, "description": "not an image that can be read"},
    422: {"model": ErrorResponse, "description": "a damaged image"},
    500: {"model": ErrorResponse, "description": "an unexpected error"},
}

FEEDBACK_BODY = {"required": True, "content": {"application/json": {"schema": Feedback.model_json_schema()}}}
FEEDBACK_ERRORS: dict[int | str, dict[str, Any]] = {
    422: {"model": ErrorResponse, "description": "a malformed request_id, or a label that is no class"},
    500: PHOTO_ERRORS[500],
}
