"""Routes for the API documentation; its modules are imported on the first request, which keeps cold starts short."""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from fastapi import FastAPI
from starlette.responses import HTMLResponse, JSONResponse


def add_docs(app: FastAPI, summaries: Mapping[str, str], class_names: Sequence[str], max_batch: int) -> None:
    @cache
    def openapi_document() -> dict[str, Any]:
        from lambda_app.web.openapi_document import document  # noqa: PLC0415  # see the module docstring

        return document(app, summaries, class_names, max_batch)

    @app.get("/openapi.json", response_class=JSONResponse)
    async def openapi() -> JSONResponse:
        return JSONResponse(openapi_document())

    @app.get("/docs", response_class=HTMLResponse)
    async def docs() -> HTMLResponse:
        from lambda_app.web.docs_page import render_page  # noqa: PLC0415  # see the module docstring

        return render_page(openapi_document())
