"""The Open Inference Protocol (KServe's and Triton's V2) beside the native routes, for clients that speak it already.

Here are its routes alone: the rest takes 5 ms to import, and is when the first such request comes.
"""

import json
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI, Request
from starlette.convertors import StringConvertor, register_url_convertor
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lambda_app.errors import Overloaded
from lambda_app.inference import Inference
from lambda_app.settings import Settings

if TYPE_CHECKING:
    from lambda_app.routes.open_inference.models import OpenInference

MODEL = "pet-classifier"
MODELS = "/v2/models/{name:model}"
EXTENSIONS = ["binary_tensor_data", "classification"]

# What OpenAPI says of them.
TAGS: list[Any] = ["Open Inference Protocol"]
TEXT = {"type": "string"}
ERROR = {"type": "object", "required": ["error"], "properties": dict.fromkeys(("error", "code", "request_id"), TEXT)}
# Said here, for a parameter of a route's function would take 0.3 ms at the start.
NAME = {"in": "path", "required": True, "schema": TEXT, "description": "`pet-classifier` or `pet-classifier-network`"}
NAMED: dict[str, Any] = {"parameters": [{"name": "name"} | NAME]}
HEADERS = [
    {
        "in": "header",
        "name": "Inference-Header-Content-Length",
        "schema": {"type": "integer", "minimum": 0},
        "description": "bytes of the JSON, where tensors in binary follow it",
    },
    {
        "in": "header",
        "name": "Content-Encoding",
        "schema": TEXT | {"enum": ["gzip", "deflate", "identity"]},
        "description": "how the body is compressed",
    },
]
ERRORS = {
    400: "a body that is no request of the protocol",
    404: "no such model, or no such version of it",
    408: "a body of which nothing comes for 10 s, or that takes longer than a minute",
    413: "more bytes, pixels or photos than the settings allow",
    415: "not an image that can be read, or an unknown content encoding",
    422: "a damaged image, or a tensor that the model does not take",
    500: "our fault",
    503: "as many photos wait as memory holds",
}
FIELDS = {
    "extensions": "what it understands beside the protocol itself",
    "id": "of the request: the client's own, if it gave one",
    "inputs": "one tensor: name, datatype, shape, and data or the `binary_data_size` of what follows the JSON",
    "live": "true, or nothing answers at all",
    "model_name": "which model answers",
    "model_version": "of the model file",
    "name": "which model is meant",
    "outputs": "tensors; in a request the names of those that are wanted, none for all",
    "parameters": "`binary_data_output`: all outputs in binary; each may have its own `binary_data`, `classification`",
    "platform": "what runs it",
    "ready": "true, or nothing answers at all",
    "version": "of the model file",
    "versions": "the one that answers",
}
PREDICTED = {"name": "predicted_class", "datatype": "BYTES", "shape": [1], "data": ["cat"]}
PHOTOS = {"name": "photos", "datatype": "BYTES", "shape": [1]}
VERSION = "2026.11.21-9c12c0f2"
SERVER = {"name": MODEL, "version": VERSION, "extensions": EXTENSIONS}
METADATA = {"name": MODEL, "versions": [VERSION], "platform": "pillow_onnxruntime", "inputs": [PHOTOS], "outputs": []}
PIXEL = "R0lGODdhAQABAIAAAAAAAP///ywAAAAAAQABAAACAkQBADs="  # a GIF of one, for it is the shortest
REQUEST = {"inputs": [PHOTOS | {"data": [PIXEL]}], "outputs": [{"name": "predicted_class"}]}
ANSWER = {"model_name": MODEL, "model_version": VERSION, "outputs": [PREDICTED]}
BINARY = {"application/octet-stream": {"schema": TEXT | {"format": "binary"}}}


class ModelPath(StringConvertor):
    """NAME or NAME/versions/VERSION. Routes of their own for these would take 0.4 ms at the start."""

    regex = "[^/]+(?:/versions/[^/]+)?"


def _content(example: Mapping[str, Any], *more: str) -> dict[str, Any]:
    properties = {name: {"description": FIELDS[name]} for name in (*example, *more)}
    schema = {"type": "object", "properties": properties, "examples": [example]}
    return {"application/json": {"schema": schema}}


def _answers(content: dict[str, Any], *errors: int) -> dict[int | str, dict[str, Any]]:
    error = {"application/json": {"schema": ERROR}}
    said = {200: "The answer."} | {status: ERRORS[status] for status in errors}
    return {
        status: {"description": text, "content": error if status in ERRORS else content}
        for status, text in said.items()
    }


def add_kserve_routes(app: FastAPI, inference: Inference, settings: Settings) -> None:
    app.add_middleware(ProtocolErrors)
    register_url_convertor("model", ModelPath())

    @cache
    def protocol() -> "OpenInference":
        from lambda_app.routes.open_inference.models import OpenInference  # noqa: PLC0415  # see above

        return OpenInference(inference, settings)

    @app.get(
        "/v2",
        tags=TAGS,
        summary="Open Inference Protocol: the server and its version",
        responses=_answers(_content(SERVER), 500),
    )
    async def server_metadata() -> Response:
        """Its name is that of its model for photos."""
        return JSONResponse({"name": MODEL, "version": app.version, "extensions": EXTENSIONS})

    @app.get(
        "/v2/health/live",
        tags=TAGS,
        summary="Open Inference Protocol: whether the server runs",
        responses=_answers(_content({"live": True}), 500),
    )
    async def server_live() -> Response:
        """Return 200 whenever the server runs."""
        return JSONResponse({"live": True})

    @app.get(
        "/v2/health/ready",
        tags=TAGS,
        summary="Open Inference Protocol: whether the server responds",
        responses=_answers(_content({"ready": True}), 500, 503),
    )
    async def server_ready() -> Response:
        """Return 503 while a request has waited more than 15 s for its predictions."""
        if inference.admission.is_stuck():
            raise Overloaded("a request has waited over 15 s for its predictions; send others elsewhere")
        return JSONResponse({"ready": True})

    ready = _content({"name": MODEL, "ready": True})

    @app.get(
        f"{MODELS}/ready",
        tags=TAGS,
        summary="Open Inference Protocol: whether the model responds",
        responses=_answers(ready, 404, 500),
        openapi_extra=NAMED,
    )
    async def model_ready(request: Request) -> Response:
        """It is, where there is such a model."""
        return JSONResponse({"name": protocol().model(request.path_params["name"]).name, "ready": True})

    body = {"required": True, "content": _content(REQUEST, "id", "parameters") | BINARY}

    @app.post(
        f"{MODELS}/infer",
        tags=TAGS,
        summary="Open Inference Protocol: predictions for photos, or for the network's own input",
        responses=_answers(_content(ANSWER, "id") | BINARY, *ERRORS),
        openapi_extra={"parameters": NAMED["parameters"] + HEADERS, "requestBody": body},
    )
    async def infer(request: Request) -> Response:
        """Of `pet-classifier`, photos as files, BYTES [N]; of `pet-classifier-network`, images of its size, UINT8.

        In JSON, BYTES are base64. Tensors in binary follow the JSON, whose length the header
        `Inference-Header-Content-Length` says. A photo that cannot be read fails the request.
        """
        return await protocol().infer(request)

    @app.get(
        MODELS,
        tags=TAGS,
        summary="Open Inference Protocol: a model's version, inputs and outputs",
        responses=_answers(_content(METADATA), 404, 500),
        openapi_extra=NAMED,
    )
    async def model_metadata(request: Request) -> Response:
        """Its tensors. Each of these paths may name the version: `/v2/models/{name}/versions/{version}`."""
        return JSONResponse(protocol().model(request.path_params["name"]).metadata(app.version))


class ProtocolErrors:
    """Pure ASGI, around everything: the protocol's clients take `error` for the message, and fail over an object.

    The code and the request's id stand beside it.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        ours = scope["type"] == "http" and f"{scope['path']}/".startswith("/v2/")
        await self.app(scope, receive, _with_plain_errors(scope, receive, send) if ours else send)


def _with_plain_errors(scope: Scope, receive: Receive, send: Send) -> Send:
    start: Message = {}

    async def send_plainly(message: Message) -> None:
        if message["type"] == "http.response.start" and message["status"] >= 400:
            start.update(message)
        elif start:
            error = json.loads(message["body"])["error"]
            answer = JSONResponse({"error": error.pop("message")} | error, start["status"])
            answer.raw_headers += [pair for pair in start["headers"] if pair[0] not in dict(answer.raw_headers)]
            await answer(scope, receive, send)
        else:
            await send(message)

    return send_plainly
