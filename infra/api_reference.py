"""The API reference of README, from what the function itself says at `/openapi.json`; `make results` asks it."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from typing import Any

import httpx2

from infra.emulator.runtime import lambda_runtime
from infra.emulator.serve import background, local_app

Json = Mapping[str, Any]


def ask() -> Any:
    """The document of the function in Lambda's own runtime."""
    with lambda_runtime() as runtime, background(local_app(runtime.endpoint)) as url:
        return httpx2.get(f"{url}/openapi.json", trust_env=False, timeout=60).raise_for_status().json()


def blocks(document: Json) -> dict[str, str]:
    """Markdown, by the name of its block."""
    fields = document["components"]["schemas"]["PredictionResponse"]["properties"]
    return {
        "routes": _table(("route", "answer"), _routes(document)),
        "fields": _table(("field", "meaning"), ((f"`{name}`", field["description"]) for name, field in fields.items())),
        "errors": _table(("status", "code", "when"), sorted(set(_errors(document)))),
    }


def _operations(document: Json) -> Iterator[tuple[str, Json]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield f"{method.upper()} {path}", operation


def _routes(document: Json) -> Iterator[tuple[str, str]]:
    """In the order in which `GET /docs` groups them."""
    for tag in document["tags"]:
        for name, operation in _operations(document):
            if tag["name"] in operation["tags"]:
                description = " ".join(operation.get("description", "").split())
                yield f"`{name}`", f"{operation['summary']}. {description}".strip()


def _errors(document: Json) -> Iterator[tuple[str, str, str]]:
    """Those of the routes, and those of requests that no route takes."""
    routes = (operation["responses"] for _, operation in _operations(document))
    for status, response in chain(*(each.items() for each in (*routes, document["components"]["responses"]))):
        content = response.get("content", {}).get("application/json", {})
        for code, example in content.get("examples", {}).items():
            yield status, f"`{code}`", example["summary"]


def _table(headings: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    """Of words in every column."""
    lines = (headings, ("---",) * len(headings), *rows)
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
