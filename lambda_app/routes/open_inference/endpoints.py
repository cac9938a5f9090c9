"""Routes for the Open Inference Protocol (V2 of KServe and Triton).

The models and tensors take 5 ms to import and are imported on the first request for a model.
"""

from collections.abc import Callable, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI, Request
from starlette.responses import JSONResponse, Response

from lambda_app.admission import STUCK_S
from lambda_app.errors import Overloaded
from lambda_app.inference import Inference
from lambda_app.settings import Settings
from lambda_app.uploads.encodings import CONTENT_CODINGS
from lambda_app.web.openapi import PIXEL

if TYPE_CHECKING:
    from lambda_app.routes.open_inference.models import OpenInference

MODEL, NETWORK = "pet-classifier", "pet-classifier-network"
HEADER_LENGTH = "Inference-Header-Content-Length"  # length of the JSON in bytes, if binary tensors follow
# Routes read the path's parameters from the request: parameters of their functions would add 1.3 ms to the start.
MODEL_PATH = "/v2/models/{name}"
VERSION_PATH = f"{MODEL_PATH}/versions/{{version}}"
EXTENSIONS = ["binary_tensor_data", "classification"]

# The OpenAPI descriptions of these routes.
TEXT = {"type": "string"}
ERROR = {"type": "object", "required": ["error"], "properties": dict.fromkeys(("error", "code", "request_id"), TEXT)}
NAME = {
    "name": "name",
    "in": "path",
    "required": True,
    "schema": TEXT,
    "description": f"`{MODEL}` or `{NETWORK}`",
}
HEADERS = [
    {
        "in": "header",
        "name": HEADER_LENGTH,
        "schema": {"type": "integer", "minimum": 0},
        "description": "length of the JSON in bytes, if binary tensors follow it",
    },
    {
        "in": "header",
        "name": "Content-Encoding",
        "schema": TEXT | {"enum": [*CONTENT_CODINGS]},
        "description": "compression of the body",
    },
]
ERRORS = {
    400: "the body is not a valid request of the protocol",
    404: "the model or its version does not exist",
    408: "the body arrives at less than 16 kB per second or takes over a minute",
    413: "the request has more bytes, pixels or photos than the settings allow",
    415: "an image has an unsupported format, or the content encoding is unknown",
    422: "an image is damaged, or the model does not accept the tensor",
    500: "a server error",
    503: "the service is overloaded; retry after `Retry-After` seconds",
}
FIELDS = {
    "extensions": "supported extensions of the protocol",
    "id": "id of the request, if the client sent one",
    "inputs": "one tensor: name, datatype, shape, and `data` or `binary_data_size`, the bytes after the JSON",
    "live": "always true",
    "model_name": "name of the model that made the predictions",
    "model_version": "version of the model file",
    "name": "name of the model or server",
    "outputs": "tensors; in a request, the requested names, or none for all but the activation map",
    "parameters": "`binary_data_output` sets binary for all outputs; each may set `binary_data`, `classification`",
    "platform": "runtime of the model",
    "ready": "always true",
    "version": "version of the model file",
    "versions": "the served version",
}
PREDICTED = {"name": "predicted_class", "datatype": "BYTES", "shape": [1], "data": ["cat"]}
PHOTOS = {"name": "photos", "datatype": "BYTES", "shape": [1]}
EXAMPLE_VERSION = "2026.01.31-01234567"
SERVER = {"name": MODEL, "version": EXAMPLE_VERSION, "extensions": EXTENSIONS}
METADATA = {
    "name": MODEL,
    "versions": [EXAMPLE_VERSION],
    "platform": "pillow_onnxruntime",
    "inputs": [PHOTOS],
    "outputs": [],
}
REQUEST = {"inputs": [PHOTOS | {"data": [PIXEL]}], "outputs": [{"name": "predicted_class"}]}
ANSWER = {"model_name": MODEL, "model_version": EXAMPLE_VERSION, "outputs": [PREDICTED]}
BINARY = {"application/octet-stream": {"schema": TEXT | {"format": "binary"}}}


def _content(example: Mapping[str, Any], *more: str) -> dict[str, Any]:
    properties = {name: {"description": FIELDS[name]} for name in (*example, *more)}
    schema = {"type": "object", "properties": properties, "examples": [example]}
    return {"application/json": {"schema": schema}}


def _describe(summary: str, description: str, content: dict[str, Any], *errors: int, **extra: Any) -> dict[str, Any]:
    """Return arguments for a route decorator. `content` is that of the response with status 200."""
    error = {"application/json": {"schema": ERROR}}
    responses = {200: {"description": "Success.", "content": content}}
    responses |= {status: {"description": ERRORS[status], "content": error} for status in errors}
    return {
        "tags": ["Open Inference Protocol"],
        "summary": f"Open Inference Protocol: {summary}",
        "description": description,
        "responses": responses,
        "openapi_extra": extra or None,
    }


SERVER_METADATA = _describe(
    "server metadata",
    f"Returns the name, the version and the extensions of the server. The name is that of the model `{MODEL}`.",
    _content(SERVER),
    500,
)
SERVER_LIVE = _describe("server liveness", "Returns 200 while the server runs.", _content({"live": True}), 500)
SERVER_READY = _describe(
    "server readiness",
    f"Returns 503 if a request has waited more than {STUCK_S:.0f} s for its predictions.",
    _content({"ready": True}),
    500,
    503,
)
MODEL_READY = _describe(
    "model readiness",
    "Returns 200 if the model exists, else 404.",
    _content({"name": MODEL, "ready": True}),
    404,
    500,
    parameters=[NAME],
)
MODEL_METADATA = _describe(
    "model version, inputs and outputs",
    f"Returns the model's tensors. Model paths may end in a version: `{VERSION_PATH}`.",
    _content(METADATA),
    404,
    500,
    parameters=[NAME],
)
INFER = _describe(
    "classify photos or preprocessed images",
    f"`{MODEL}` takes photos as files, BYTES [N]; `{NETWORK}` takes UINT8 images of its size. In JSON, BYTES are "
    f"base64. Binary tensors follow the JSON; `{HEADER_LENGTH}` is the length of the JSON. A photo that cannot be read "
    "fails the whole request. The outputs `activation_map` and `activation_map_rectangle` are computed only for "
    "requests that name them.",
    _content(ANSWER, "id") | BINARY,
    *ERRORS,
    parameters=[NAME, *HEADERS],
    requestBody={"required": True, "content": _content(REQUEST, "id", "parameters") | BINARY},
)


def add_open_inference_routes(app: FastAPI, inference: Inference, settings: Settings) -> None:
    """Add the routes under `/v2`."""

    @cache
    def protocol() -> "OpenInference":
        from lambda_app.routes.open_inference.models import OpenInference  # noqa: PLC0415  # see the module docstring

        return OpenInference(inference, settings)

    _add_server_routes(app, inference)
    _add_model_routes(app, protocol)


def _add_server_routes(app: FastAPI, inference: Inference) -> None:
    """Add metadata, liveness and readiness of the server."""

    @app.get("/v2", **SERVER_METADATA)
    async def server_metadata() -> Response:
        return JSONResponse({"name": MODEL, "version": app.version, "extensions": EXTENSIONS})

    @app.get("/v2/health/live", **SERVER_LIVE)
    async def server_live() -> Response:
        return JSONResponse({"live": True})

    @app.get("/v2/health/ready", **SERVER_READY)
    async def server_ready() -> Response:
        if inference.admission.is_stuck():
            raise Overloaded(f"a request has waited over {STUCK_S:.0f} s for its predictions; send others elsewhere")
        return JSONResponse({"ready": True})


def _add_model_routes(app: FastAPI, protocol: Callable[[], "OpenInference"]) -> None:
    """Add readiness, inference and metadata of a model, each with and without a version in the path."""

    @app.get(f"{MODEL_PATH}/ready", **MODEL_READY)
    @app.get(f"{VERSION_PATH}/ready", include_in_schema=False)
    async def model_ready(request: Request) -> Response:
        return JSONResponse({"name": protocol().model(**request.path_params).name, "ready": True})

    @app.post(f"{MODEL_PATH}/infer", **INFER)
    @app.post(f"{VERSION_PATH}/infer", include_in_schema=False)
    async def infer(request: Request) -> Response:
        return await protocol().infer(request)

    @app.get(MODEL_PATH, **MODEL_METADATA)
    @app.get(VERSION_PATH, include_in_schema=False)
    async def model_metadata(request: Request) -> Response:
        return JSONResponse(protocol().model(**request.path_params).metadata(app.version))
