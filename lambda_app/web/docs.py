"""Serve the OpenAPI document and Swagger UI from this origin, so that the documentation loads nothing from other sites.

The package fastapi-swagger only ships Swagger UI's files; it is never imported.
"""

from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from starlette.responses import HTMLResponse, JSONResponse, Response

from lambda_app.web.openapi import build_document, describe
from lambda_app.web.page import csp_hashes

# CloudFront requires the SHA-256 of each body (lambda_app/README.md). `Response` serializes a form. Swagger UI deletes
# the header `Content-Type` of a form, so that the browser sets it, but not `CONTENT-TYPE`.
ADD_HASH = b"""requestInterceptor: async (request) => {
  if (request.body && crypto.subtle) {
    const message = new Response(request.body);
    const bytes = await message.arrayBuffer();
    const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
    if (request.body instanceof FormData) {
      delete request.headers["Content-Type"];
      request.headers["CONTENT-TYPE"] = message.headers.get("content-type");
    }
    request.headers["x-amz-content-sha256"] = Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
    request.body = new Blob([bytes]);
  }
  return request;
},
"""
CONFIGURATION = b"SwaggerUIBundle({"  # followed by its options
ASSETS = {"swagger-ui-bundle.js": "text/javascript", "swagger-ui.css": "text/css"}


def add_docs(app: FastAPI, class_names: Sequence[str], max_batch: int) -> None:
    @cache
    def document() -> dict[str, Any]:
        return build_document(app, class_names, max_batch)

    @app.get("/openapi.json", response_class=JSONResponse, **describe("About", "OpenAPI document", "OpenAPI 3.1."))
    async def openapi() -> JSONResponse:
        return JSONResponse(document())

    @app.get(
        "/docs",
        response_class=HTMLResponse,
        **describe(
            "About", "API documentation", "Swagger UI, which can send requests. Loads nothing from other sites."
        ),
    )
    async def docs() -> HTMLResponse:
        return _swagger_page(app.title)

    def add_asset(name: str, media_type: str) -> None:
        @app.get(f"/docs/{name}", include_in_schema=False)
        async def asset() -> Response:
            headers = {"cache-control": "public, max-age=86400"}
            return Response((_asset_folder() / name).read_bytes(), media_type=media_type, headers=headers)

    for name, media_type in ASSETS.items():
        add_asset(name, media_type)


def _swagger_page(title: str) -> HTMLResponse:
    from fastapi.openapi.docs import get_swagger_ui_html  # noqa: PLC0415  # not needed at a cold start

    page = get_swagger_ui_html(
        openapi_url="openapi.json",  # relative: a proxy may serve the app under a path
        title=f"{title}: API",
        swagger_js_url="docs/swagger-ui-bundle.js",
        swagger_css_url="docs/swagger-ui.css",
        swagger_favicon_url="data:,",
    )
    page.body = bytes(page.body).replace(CONFIGURATION, CONFIGURATION + ADD_HASH)
    page.headers["content-length"] = str(len(page.body))
    [script] = csp_hashes(page.body.decode(), "script")
    page.headers["content-security-policy"] = (
        f"default-src 'none'; script-src 'self' {script}; style-src 'self'; img-src data: blob:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    page.headers["referrer-policy"] = "no-referrer"
    return page


def _asset_folder() -> Path:
    spec = find_spec("fastapi_swagger")
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError("fastapi-swagger is not installed; requirements-serve.txt has it")
    return Path(spec.submodule_search_locations[0]) / "resources"
