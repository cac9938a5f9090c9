"""Render README's API reference from the function's OpenAPI document, for `make results`."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from typing import Any

import httpx2

from infra.emulator.runtime import lambda_runtime
from infra.emulator.serve import background, local_app

Json = Mapping[str, Any]


def fetch_openapi() -> Any:
    """Return `/openapi.json` of the function in Lambda's own runtime."""
    with lambda_runtime() as runtime, background(local_app(runtime.endpoint)) as url:
        return httpx2.get(f"{url}/openapi.json", trust_env=False, timeout=60).raise_for_status().json()


def render_tables(document: Json) -> dict[str, str]:
    """Return Markdown tables by the name of their block in README."""
    fields = document["components"]["schemas"]["PredictionResponse"]["properties"]
    return {
        "routes": _render_table(("route", "answer"), _routes(document)),
        "fields": _render_table(
            ("field", "meaning"), ((f"`{name}`", field["description"]) for name, field in fields.items())
        ),
        "errors": _render_table(("status", "code", "when"), sorted(set(_errors(document)))),
    }


def _operations(document: Json) -> Iterator[tuple[str, Json]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield f"{method.upper()} {path}", operation


def _routes(document: Json) -> Iterator[tuple[str, str]]:
    """Yield routes and their descriptions in the order in which `GET /docs` groups them."""
    for tag in document["tags"]:
        for name, operation in _operations(document):
            if tag["name"] in operation["tags"]:
                description = " ".join(operation.get("description", "").split())
                yield f"`{name}`", f"{operation['summary']}. {description}".strip()


def _errors(document: Json) -> Iterator[tuple[str, str, str]]:
    """Yield status, code and summary of the routes' errors, and of the errors for requests that match no route."""
    routes = (operation["responses"] for _, operation in _operations(document))
    responses = chain.from_iterable(each.items() for each in (*routes, document["components"]["responses"]))
    for status, response in responses:
        content = response.get("content", {}).get("application/json", {})
        for code, example in content.get("examples", {}).items():
            yield status, f"`{code}`", example["summary"]


def _render_table(headings: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    """Return a Markdown table whose columns are all left-aligned."""
    lines = (headings, ("---",) * len(headings), *rows)
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
