"""Describe routes with the parameters of FastAPI's decorators, and build the OpenAPI document from them."""

from collections.abc import Iterable, Mapping, Sequence
from copy import copy
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute
from starlette.routing import BaseRoute

from lambda_app.error_responses import error_body
from lambda_app.errors import (
    BadField,
    ContributionsOff,
    CrossOrigin,
    DamagedPhoto,
    MalformedRequest,
    NoConsent,
    NoPhoto,
    Overloaded,
    PhotoTooLarge,
    RequestError,
    SlowUpload,
    StorageFailed,
    TooManyContributions,
    UnsupportedPhoto,
    UnsupportedType,
)
from lambda_app.schemas import ErrorResponse, Feedback
from lambda_app.uploads.photo import FORM, MAX_FIELDS
from lambda_app.web.examples import REQUEST_ID, Json, examples

Errors = tuple[type[RequestError], ...]
DESCRIPTION = """\
All errors have the same JSON shape, with a code for programs and a message for people, except those of `POST /`, \
which are pages. Under `/v2`, errors have the shape of that protocol, where `error` is the message. Besides the \
errors of each route, there are 404 `not_found` if no route has the path, and 405 `method_not_allowed` if the route \
does not support the method. Every route that supports GET supports HEAD. The header `x-request-id` of each response \
identifies the request in the log.

Behind CloudFront, every POST needs the header `x-amz-content-sha256` with the SHA-256 of its body in hexadecimal; \
without it, the response is 403. Swagger UI and the web page send it."""
TAGS = {
    "Photos": "Classify photos.",
    "Feedback": "True classes of photos, for monitoring and retraining.",
    "Instance": "The function and its model. Metrics cover the instance that responds; several may run.",
    "About": "The web page and the documentation.",
    "Open Inference Protocol": "The same predictions for clients of KServe and Triton.",
}
REFERENCE = "#/components/schemas/{model}"
INTERNAL = (500, "internal_error", "The service has a bug. The log has the stack trace under the same `request_id`.")
UNROUTED = {  # errors of requests that no route takes
    404: {(404, "not_found", "No route has this path.")},
    405: {(405, "method_not_allowed", "The route does not support this method.")},
}

# Request bodies. Routes parse them themselves, so FastAPI cannot document them.
PIXEL = "R0lGODdhAQABAIAAAAAAAP///ywAAAAAAQABAAACAkQBADs="  # a GIF of one pixel: the shortest photo
EXPLAIN_PARAMETER: Json = {
    "in": "query",
    "name": "explain",
    "schema": {"type": "string", "enum": ["0", "1"]},
    "description": "1 adds `explanation` to each prediction: which parts of the photo count toward the predicted class",
}
FILE = {"type": "string", "format": "binary"}  # as in OpenAPI 3.0; tools for 3.1 understand it, too
IMAGE = {
    "type": "string",
    "format": "byte",
    "description": "the photo in base64 or base64url, or as a data URL; line breaks and padding do not matter",
}


def _form(file: Mapping[str, Any]) -> Json:
    return {"schema": {"type": "object", "required": ["file"], "properties": {"file": file}}}


ONE_FILE = _form(FILE | {"description": "the photo; its file name and content type do not matter"})
MANY_FILES = _form({"type": "array", "minItems": 1, "items": FILE, "description": "the photos, in order"})
IMAGE_JSON = {"type": "object", "required": ["image"], "properties": {"image": IMAGE}, "examples": [{"image": PIXEL}]}
PHOTO_BODY: Json = {
    "image/*": {"schema": FILE},
    FORM: ONE_FILE,
    "application/json": {"schema": IMAGE_JSON},
    "application/octet-stream": {"schema": FILE},
}
CONSENT = {
    "type": "string",
    "enum": ["true"],
    "description": "the person who sends the photo agrees that the server keeps it to train models",
}
FEEDBACK_BODY: Json = {
    "application/json": {"schema": {"$ref": REFERENCE.format(model="Feedback")}},
    FORM: {"schema": {"type": "object", "maxProperties": MAX_FIELDS + 1}},  # `_contribution_form` adds the properties
}

# Errors of routes that read a form, one photo, or a contributed photo.
FORM_ERRORS: Errors = (
    NoPhoto,
    UnsupportedPhoto,
    MalformedRequest,
    SlowUpload,
    PhotoTooLarge,
    UnsupportedType,
    BadField,
    Overloaded,
)
PHOTO_ERRORS: Errors = (*FORM_ERRORS, DamagedPhoto)
CONTRIBUTION_ERRORS: Errors = (
    *PHOTO_ERRORS,
    ContributionsOff,
    CrossOrigin,
    NoConsent,
    TooManyContributions,
    StorageFailed,
)


def describe(
    tag: str,
    summary: str,
    description: str = "",
    *,
    errors: Errors = (),
    body: Mapping[str, Any] | None = None,
    parameters: Sequence[Json] = (),
    error_pages: bool = False,
) -> Json:
    """Return arguments for a route decorator, e.g. `@app.get("/health", **describe("Instance", "…"))`.

    `body` maps media types to their schemas. Routes read their `parameters` from the request, because parameters of
    their functions would take longer to start. With `error_pages`, errors other than 500 are HTML for browsers.
    """
    extra: Json = {"requestBody": {"required": True, "content": body}} if body else {}
    if parameters:
        extra["parameters"] = [*parameters]
    return {
        "tags": [tag],
        "summary": summary,
        "description": description,
        "response_description": "The response.",
        "responses": _error_responses(errors, as_pages=error_pages),
        "openapi_extra": extra or None,
    }


def _error_responses(errors: Errors, *, as_pages: bool) -> dict[int, Json]:
    """Return the descriptions of the errors, and of internal errors, by status."""
    kinds = {(kind.status, kind.code, kind.__doc__ or "") for kind in errors} | {INTERNAL}
    responses = {}
    for status in sorted({status for status, *_ in kinds}):
        responses[status] = _response(kind for kind in kinds if kind[0] == status)
        if as_pages and status != 500:
            responses[status]["content"]["text/html"] = {"schema": {"type": "string"}}
    return responses


def list_routes(app: FastAPI) -> dict[str, str]:
    """Return the summary of each documented route, by method and path."""
    return {
        f"{method} {route.path_format}": route.summary or ""
        for route in app.routes
        if isinstance(route, APIRoute) and route.include_in_schema
        for method in sorted((route.methods or set()) - {"HEAD"})
    }


def build_document(app: FastAPI, class_names: Sequence[str], max_batch: int) -> Json:
    """Return the OpenAPI document, with examples for the model's classes; the examples of `/v2` are constant."""
    tags = [{"name": name, "description": text} for name, text in TAGS.items()]
    document: Json = get_openapi(
        title=app.title, version=app.version, description=DESCRIPTION, routes=_without_head(app.routes), tags=tags
    )
    schemas = document["components"]["schemas"] | _custom_body_schemas(class_names)
    schemas["PredictionResponse"]["properties"]["explanation"] = {
        "$ref": REFERENCE.format(model="Explanation"),
        "description": "which parts of the photo count toward the predicted class; only with `explain=1`",
    }
    for name, example in examples(list_routes(app), class_names, app.version).items():
        if name in schemas:  # PUBLIC_ROUTES may leave its route out
            schemas[name]["examples"] = [example]
    batch = document["paths"]["/predict/batch"]["post"]["requestBody"]["content"][FORM]["schema"]
    batch["properties"]["file"]["maxItems"] = max_batch
    form = document["paths"]["/feedback"]["post"]["requestBody"]["content"][FORM]["schema"]
    form.update(_contribution_form(schemas["Feedback"]))
    unrouted = {str(status): _response(kinds) for status, kinds in UNROUTED.items()}
    document["components"] = {"schemas": schemas, "responses": unrouted}
    return document


def _custom_body_schemas(class_names: Sequence[str]) -> Json:
    """Return the schemas of bodies that routes parse and render themselves."""
    from lambda_app.explanation import Explanation  # noqa: PLC0415  # not needed at a cold start

    schemas: Json = {}
    for model in (Feedback, ErrorResponse, Explanation):
        schema = model.model_json_schema(ref_template=REFERENCE)
        schemas |= schema.pop("$defs", {}) | {model.__name__: schema}
    schemas["Feedback"]["properties"]["label"]["enum"] = list(class_names)
    return schemas


def _contribution_form(feedback: Json) -> Json:
    """Return the schema of the form with a contributed photo: the fields of `Feedback`, consent and file."""
    fields = feedback["properties"] | {"consent": CONSENT, "file": ONE_FILE["schema"]["properties"]["file"]}
    return {"required": list(fields), "properties": fields}


def _response(kinds: Iterable[tuple[int, str, str]]) -> Json:
    """Describe the errors of one status, with an example of each code."""
    kinds = sorted(kinds)
    content = {
        "schema": {"$ref": REFERENCE.format(model="ErrorResponse")},
        "examples": {
            code: {"summary": reason, "value": error_body(code, reason, REQUEST_ID)} for _, code, reason in kinds
        },
    }
    return {
        "description": " ".join(reason for *_, reason in kinds),
        "content": {"application/json": content},
    }


def _without_head(routes: Iterable[BaseRoute]) -> list[BaseRoute]:
    """Copy the routes without HEAD, which the description of the document covers for all of them."""
    described = [copy(route) for route in routes]
    for route in described:
        if isinstance(route, APIRoute):
            route.methods = {method for method in route.methods or () if method != "HEAD"}
    return described
