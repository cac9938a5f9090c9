"""Render the OpenAPI document as plain HTML without scripts, for any browser and screen reader."""

import base64
import hashlib
import json
import re
from collections.abc import Iterable, Iterator
from html import escape
from typing import Any

from starlette.responses import HTMLResponse

Json = dict[str, Any]
STYLE = """
:root { color-scheme: light dark; --soft: light-dark(#5d6059, #a3a89f); --line: light-dark(#dcd8cd, #333833);
  --card: light-dark(#fffefb, #1c1f1c); --back: light-dark(#f7f5f0, #141614); --ink: light-dark(#1b1d1a, #eceee8);
  --get: light-dark(#0d6b57, #74d3b6); --post: light-dark(#8a3d00, #ffb27a); }
* { box-sizing: border-box }
body { margin: 0; background: var(--back); color: var(--ink); font: 16px/1.55 system-ui, sans-serif;
  overflow-wrap: anywhere }
header, main { max-width: 60rem; margin: auto; padding: 1rem }
h1, h2 { font-family: ui-serif, Palatino, P052, Georgia, serif; font-weight: 500 }
h1 { margin: 1rem 0 0; font-size: 2.4rem } h2 { margin: 2.5rem 0 0 } h3 { margin: 0; font-size: 1.1rem }
h4 { margin: 1.2rem 0 .2rem; font-size: .95rem }
p { margin: .4rem 0 } .soft { color: var(--soft) }
section { background: var(--card); border: 1px solid var(--line); border-radius: .8rem; padding: 1rem; margin: 1rem 0 }
a { color: inherit } nav ul { padding: 0; list-style: none; columns: 17rem }
code, pre, h3 { font-family: ui-monospace, monospace } code { font-size: .9em }
pre { background: var(--back); border-radius: .5rem; padding: .8rem; margin: .4rem 0; white-space: pre-wrap }
.get { color: var(--get) } .post { color: var(--post) }
table { border-collapse: collapse; width: 100% } th { text-align: left; font-size: .85rem; color: var(--soft) }
td, th { padding: .35rem .8rem .35rem 0; border-top: 1px solid var(--line); vertical-align: top;
  overflow-wrap: break-word }
@media (max-width: 40rem) { th { display: none } td { display: block; border: 0; padding: 0 }
  td:first-child { border-top: 1px solid var(--line); padding-top: .4rem; margin-top: .4rem } }
"""
HASH = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
HEADERS = {
    "content-security-policy": f"default-src 'none'; style-src 'sha256-{HASH}'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "referrer-policy": "no-referrer",
}


def render_page(document: Json) -> HTMLResponse:
    """Return the page; its Content-Security-Policy allows nothing but its own style."""
    title, version = (escape(document["info"][name]) for name in ("title", "version"))
    groups = [(tag, list(_operations(document, tag["name"]))) for tag in document["tags"]]
    body = (
        f'<header><h1>{title}</h1><p class="soft">Model {version} · <a href="openapi.json">openapi.json</a></p>'
        f'<p>{_text(document["info"]["description"])}</p><nav aria-label="Routes"><ul>{_contents(groups)}</ul></nav>'
        f"</header><main>{''.join(_group(document, *group) for group in groups)}</main>"
    )
    return HTMLResponse(
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}: API</title>'
        f'<meta name="viewport" content="width=device-width"><style>{STYLE}</style></head><body>{body}</body></html>',
        headers=HEADERS,
    )


def _operations(document: Json, tag: str) -> Iterator[tuple[str, str, Json]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            if tag in operation["tags"]:
                yield method, path, operation


def _contents(groups: Iterable[tuple[Json, list[tuple[str, str, Json]]]]) -> str:
    each = [(method, path) for _, operations in groups for method, path, _ in operations]
    return "".join(f'<li><a href="#{_id(*one)}">{_heading(*one)}</a></li>' for one in each)


def _group(document: Json, tag: Json, operations: list[tuple[str, str, Json]]) -> str:
    sections = "".join(_section(document, *operation) for operation in operations)
    return f'<h2>{escape(tag["name"])}</h2><p class="soft">{_text(tag["description"])}</p>{sections}'


def _section(document: Json, method: str, path: str, operation: Json) -> str:
    responses = operation["responses"]
    body, contents = operation.get("requestBody", {}).get("content", {}), responses["200"]["content"]
    parts = [
        f'<section id="{_id(method, path)}"><h3>{_heading(method, path)}</h3><p>{_sentence(operation["summary"])}</p>',
        f'<p class="soft">{_text(operation.get("description", ""))}</p>',
        _table("Parameters", operation.get("parameters", []), ("in", "name", "description")),
        *(_content(document, "Body", kind, each.get("schema", {})) for kind, each in body.items()),
        *(_content(document, "Response", kind, each.get("schema", {})) for kind, each in contents.items()),
        _table("Errors", _errors(responses), ("status", "code", "when")),
    ]
    return f"{''.join(parts)}</section>"


def _content(document: Json, title: str, media_type: str, schema: Json) -> str:
    """Return the fields and an example of a body; for a list, those of its items."""
    items = schema.get("items", schema)
    model = _resolved(document, (items.get("anyOf") or items.get("oneOf") or [items])[0])
    rows = [
        {"field": f"`{name}`", "type": _type(field), "meaning": field.get("description", "")}
        for name, field in model.get("properties", {}).items()
    ]
    example = "".join(f"<pre>{escape(json.dumps(each, indent=2))}</pre>" for each in model.get("examples", []))
    many = "a list of " if "items" in schema else ""
    heading = f"<h4>{title}: {many}<code>{escape(media_type)}</code></h4>"
    return heading + _table("", rows, ("field", "type", "meaning")) + example


def _errors(responses: Json) -> Iterator[Json]:
    for status, response in responses.items():
        examples = response.get("content", {}).get("application/json", {}).get("examples", {})
        for code, example in examples.items():
            yield {"status": status, "code": f"`{code}`", "when": example["summary"]}
        if not examples and status >= "400":
            yield {"status": status, "code": "", "when": response["description"]}


def _table(title: str, rows: Iterable[Json], columns: tuple[str, ...]) -> str:
    cells = "".join(f"<tr>{_cells([row.get(name, '') for name in columns])}</tr>" for row in rows)
    if not cells:
        return ""
    head = "".join(f'<th scope="col">{name}</th>' for name in columns)
    heading = f"<h4>{title}</h4>" if title else ""
    return f"{heading}<table><tr>{head}</tr>{cells}</table>"


def _cells(texts: Iterable[str]) -> str:
    return "".join(f"<td>{_text(text)}</td>" for text in texts)


def _resolved(document: Json, schema: Json) -> Json:
    name = schema.get("$ref", "").removeprefix("#/components/schemas/")
    return document["components"]["schemas"][name] if name else schema


def _type(field: Json) -> str:
    kinds = [_type(each) for each in field.get("anyOf", [])]
    inner = f" of {_type(field['items'])}" if "items" in field else ""
    name = field.get("$ref", "").rpartition("/")[2]
    return " or ".join(kinds) or name or f"{field.get('format') or field.get('type', 'any')}{inner}"


def _id(method: str, path: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", f"{method}{path}".lower()).strip("-")


def _heading(method: str, path: str) -> str:
    return f'<span class="{method}">{method.upper()}</span> {escape(path)}'


def _sentence(text: str) -> str:
    return f"{_text(text[0].upper() + text[1:])}."


def _text(text: str) -> str:
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text))
