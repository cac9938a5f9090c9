"""The OpenAPI document: what FastAPI knows of the routes, and the words for it. Made when somebody asks for it."""

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
Every error is JSON of one shape, with a code for programs and a message for people; under `/v2` that of its protocol, \
where `error` is the message. Beside those of each route there \
are 404 `not_found` where no route has the path, and 405 `method_not_allowed` where one has, with another method. \
Every route that takes GET takes HEAD. The header `x-request-id` of every answer finds the request in the log."""
REFERENCE = "#/components/schemas/{model}"
INTERNAL = (500, "internal_error", "our fault; the log has the stack under the same `request_id`")
ELSEWHERE = {
    "404": ("not_found", "no such route"),
    "405": ("method_not_allowed", "the route knows another method"),
}


def document(app: FastAPI, summaries: Mapping[str, str], class_names: Sequence[str], max_batch: int) -> Json:
    tags = [{"name": name, "description": text} for name, text in TAGS.items()]
    made = get_openapi(
        title=app.title, version=app.version, description=DESCRIPTION, routes=_without_head(app.routes), tags=tags
    )
    made["components"]["schemas"] = _schemas(made["components"]["schemas"], class_names)
    for name, example in examples(summaries, class_names, app.version).items():
        if schema := made["components"]["schemas"].get(name):  # PUBLIC_ROUTES may leave its route out
            schema["examples"] = [example]
    for path, operations in made["paths"].items():
        for method, operation in operations.items():
            name = f"{method.upper()} {path}"
            operation["summary"] = summaries.get(name, operation["summary"])
            if "HTTPValidationError" in str(operation["responses"].get("422")):
                del operation["responses"]["422"]  # FastAPI's own, which nobody gets to see
            if words := OPERATIONS.get(name):
                _describe(operation, words)
    batch = made["paths"]["/predict/batch"]["post"]["requestBody"]["content"][FORM]["schema"]
    batch["properties"]["file"]["maxItems"] = max_batch
    made["components"]["responses"] = {code: _response({(int(code), *words)}) for code, words in ELSEWHERE.items()}
    return made


def _without_head(routes: Iterable[BaseRoute]) -> list[BaseRoute]:
    """Return the routes without HEAD, which is documented once for all of them."""
    described = [copy(route) for route in routes]
    for route in described:
        if isinstance(route, APIRoute):
            route.methods = {method for method in route.methods or () if method != "HEAD"}
    return described


def _describe(operation: Json, words: Operation) -> None:
    operation |= {"tags": [words.tag], "description": words.description}
    operation |= {"requestBody": deepcopy(words.body)} if words.body else {}
    answer = operation["responses"]["200"]
    answer["description"] = "The answer."
    kinds = {(kind.status, kind.code, kind.__doc__ or "") for kind in words.errors} | {INTERNAL}
    for status in sorted({status for status, *_ in kinds}):
        response = _response({kind for kind in kinds if kind[0] == status})
        if words.errors and "text/html" in answer["content"] and status < 500:  # those it does not make itself
            response["content"]["text/html"] = {"schema": {"type": "string"}}
        operation["responses"][str(status)] = response


def _response(kinds: set[tuple[int, str, str]]) -> Json:
    """Of errors with one status: an example of each code."""
    examples = {code: {"summary": when, "value": error(code, when)} for _, code, when in sorted(kinds)}
    content = {"schema": {"$ref": REFERENCE.format(model="ErrorResponse")}, "examples": examples}
    description = " ".join(when for *_, when in sorted(kinds))
    return {"description": description, "content": {"application/json": content}}


def _schemas(made: Json, class_names: Sequence[str]) -> Json:
    """With those of what routes read and answer by hand."""
    for name in ("HTTPValidationError", "ValidationError"):
        made.pop(name, None)
    for model in (Feedback, ErrorResponse):
        schema = model.model_json_schema(ref_template=REFERENCE)
        made |= schema.pop("$defs", {}) | {model.__name__: schema}
    made["Feedback"]["properties"]["label"]["enum"] = list(class_names)
    return made
