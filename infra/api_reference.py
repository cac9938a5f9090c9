"""Render the API reference of lambda_app/README.md from the function's `/openapi.json`, which `make results` stores."""

from collections.abc import Iterator, Mapping
from itertools import chain
from typing import Any

import httpx2

from infra.emulator.runtime import lambda_runtime
from infra.emulator.serve import background, local_app
from infra.markdown import text_table

Json = Mapping[str, Any]


def fetch_openapi() -> Any:
    """Return the function's OpenAPI document, served in Lambda's runtime."""
    with lambda_runtime() as runtime, background(local_app(runtime)) as url:
        return httpx2.get(f"{url}/openapi.json", trust_env=False, timeout=60).raise_for_status().json()


def render_blocks(document: Json) -> dict[str, str]:
    """Return the Markdown of each block by its name: `routes`, `details`, `fields`, `explanation` and `errors`."""
    return {
        "routes": text_table(("route", "response"), ((f"`{name}`", summary) for name, summary, _ in _routes(document))),
        "details": "\n".join(f"- `{name}`: {text}" for name, _, text in _routes(document) if text),
        "fields": _fields(document, "PredictionResponse"),
        "explanation": _fields(document, "Explanation"),
        "errors": text_table(("status", "code", "when"), sorted(set(_errors(document)))),
    }


def _fields(document: Json, schema: str) -> str:
    fields = document["components"]["schemas"][schema]["properties"]
    return text_table(("field", "meaning"), ((f"`{name}`", field["description"]) for name, field in fields.items()))


def _operations(document: Json) -> Iterator[tuple[str, Json]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield f"{method.upper()} {path}", operation


def _routes(document: Json) -> Iterator[tuple[str, str, str]]:
    """Yield name, summary and description of each route, in the order in which `GET /docs` groups them."""
    for tag in document["tags"]:
        for name, operation in _operations(document):
            if tag["name"] in operation["tags"]:
                yield name, operation["summary"], " ".join(operation.get("description", "").split())


def _errors(document: Json) -> Iterator[tuple[str, str, str]]:
    """Yield status, code and meaning of each error: those of the routes, then those of requests that match no route."""
    routes = (operation["responses"] for _, operation in _operations(document))
    for status, response in chain(*(each.items() for each in (*routes, document["components"]["responses"]))):
        content = response.get("content", {}).get("application/json", {})
        for code, example in content.get("examples", {}).items():
            yield status, f"`{code}`", example["summary"]
