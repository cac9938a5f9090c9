"""Build error responses: their JSON, and the header `Retry-After`."""

from typing import Any

from starlette.responses import JSONResponse
from starlette.types import Scope

from lambda_app.errors import RequestError
from lambda_app.telemetry.request_log import RequestRecord


def error_body(code: str, message: str, request_id: str) -> dict[str, Any]:
    """Return the JSON of an error, as `ErrorResponse` describes it."""
    return {"error": {"code": code, "message": message, "request_id": request_id}}


def error_response(scope: Scope, status: int, code: str, message: str) -> JSONResponse:
    """Return an error, and record its code.

    All routes share one shape, except those under `/v2`: in the Open Inference Protocol, `error` is the message.
    """
    record: RequestRecord = scope["state"]["record"]
    record.error_code = code
    if f"{scope['path']}/".startswith("/v2/"):
        return JSONResponse({"error": message, "code": code, "request_id": record.request_id}, status)
    return JSONResponse(error_body(code, message, record.request_id), status)


def request_error_response(scope: Scope, error: RequestError) -> JSONResponse:
    """Return the error with its `Retry-After`, and record its code."""
    response = error_response(scope, error.status, error.code, str(error))
    response.headers.update(retry_after_header(error))
    return response


def retry_after_header(error: RequestError) -> dict[str, str]:
    return {} if error.retry_after is None else {"retry-after": str(error.retry_after)}
