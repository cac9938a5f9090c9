"""Build the OpenAPI document from FastAPI's own, descriptions and examples, on the first request for it."""

from collections.abc import Iterable, Mapping, Sequence
from copy import copy, deepcopy
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute
from starlette.routing import BaseRoute

from lambda_app.schemas import ErrorResponse, Feedback
from lambda_app.web.examples import error, examples
from lambda_app.web.route_descriptions import FORM, OPERATIONS, TAGS, Operation

Json = dict[str, Any]
DESCRIPTION = """\
Every error is JSON of one shape, with a stable code for programs and a message for people. Under `/v2`, errors follow \
the Open Inference Protocol: `error` is the message. In addition to the errors of each route, an unknown path returns \
404 `not_found`, and a method that the path rejects returns 405 `method_not_allowed`. Every GET route supports \
HEAD. The response header `x-request-id` identifies the request in the log."""
REFERENCE = "#/components/schemas/{model}"
INTERNAL = (500, "internal_error", "a server error; the log has the stack trace under the same `request_id`")
UNROUTED = {
    "404": ("not_found", "no route has this path"),
    "405": ("method_not_allowed", "the path does not support this method"),
}


def document(app: FastAPI, summaries: Mapping[str, str], class_names: Sequence[str], max_batch: int) -> Json:
    tags = [{"name": name, "description": text} for name, text in TAGS.items()]
    openapi = get_openapi(
        title=app.title, version=app.version, description=DESCRIPTION, routes=_without_head(app.routes), tags=tags
    )
    openapi["components"]["schemas"] = _schemas(openapi["components"]["schemas"], class_names)
    for name, example in examples(summaries, class_names, app.version).items():
        if schema := openapi["components"]["schemas"].get(name):  # PUBLIC_ROUTES may leave its route out
            schema["examples"] = [example]
    for path, operations in openapi["paths"].items():
        for method, operation in operations.items():
            name = f"{method.upper()} {path}"
            operation["summary"] = summaries.get(name, operation["summary"])
            if "HTTPValidationError" in str(operation["responses"].get("422")):
                del operation["responses"]["422"]  # FastAPI's own 422; the application never returns it
            if description := OPERATIONS.get(name):
                _describe(operation, description)
    batch = openapi["paths"]["/predict/batch"]["post"]["requestBody"]["content"][FORM]["schema"]
    batch["properties"]["file"]["maxItems"] = max_batch
    openapi["components"]["responses"] = {code: _response({(int(code), *error)}) for code, error in UNROUTED.items()}
    return openapi


def _without_head(routes: Iterable[BaseRoute]) -> list[BaseRoute]:
    """Return copies of the routes without HEAD; the description covers HEAD for all of them."""
    described = [copy(route) for route in routes]
    for route in described:
        if isinstance(route, APIRoute):
            route.methods = {method for method in route.methods or () if method != "HEAD"}
    return described


def _describe(operation: Json, route: Operation) -> None:
    operation |= {"tags": [route.tag], "description": route.description}
    operation |= {"requestBody": deepcopy(route.body)} if route.body else {}
    success = operation["responses"]["200"]
    success["description"] = "Success."
    kinds = {(kind.status, kind.code, kind.__doc__ or "") for kind in route.errors} | {INTERNAL}
    for status in sorted({status for status, *_ in kinds}):
        response = _response({kind for kind in kinds if kind[0] == status})
        if (
            route.errors and "text/html" in success["content"] and status < 500
        ):  # other handlers answer from 500 up, in JSON
            response["content"]["text/html"] = {"schema": {"type": "string"}}
        operation["responses"][str(status)] = response


def _response(kinds: set[tuple[int, str, str]]) -> Json:
    """Return the response of one status, with an example of each code."""
    examples = {code: {"summary": when, "value": error(code, when)} for _, code, when in sorted(kinds)}
    content = {"schema": {"$ref": REFERENCE.format(model="ErrorResponse")}, "examples": examples}
    description = "; or ".join(when for *_, when in sorted(kinds))
    return {"description": description, "content": {"application/json": content}}


def _schemas(openapi: Json, class_names: Sequence[str]) -> Json:
    """Return the schemas with those that routes read or return without FastAPI."""
    for name in ("HTTPValidationError", "ValidationError"):
        openapi.pop(name, None)
    for model in (Feedback, ErrorResponse):
        schema = model.model_json_schema(ref_template=REFERENCE)
        openapi |= schema.pop("$defs", {}) | {model.__name__: schema}
    openapi["Feedback"]["properties"]["label"]["enum"] = list(class_names)
    return openapi
