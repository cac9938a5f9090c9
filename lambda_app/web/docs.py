"""The routes of the documentation. What makes it is imported when somebody asks: a cold start does not pay for it."""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from fastapi import FastAPI
from starlette.responses import HTMLResponse, JSONResponse


def add_docs(app: FastAPI, summaries: Mapping[str, str], class_names: Sequence[str], max_batch: int) -> None:
    @cache
    def described() -> dict[str, Any]:
        from lambda_app.web.openapi_document import document  # noqa: PLC0415  # see above

        return document(app, summaries, class_names, max_batch)

    @app.get("/openapi.json", response_class=JSONResponse)
    async def openapi() -> JSONResponse:
        return JSONResponse(described())

    @app.get("/docs", response_class=HTMLResponse)
    async def docs() -> HTMLResponse:
        from lambda_app.web.docs_page import page  # noqa: PLC0415  # see above

        return page(described())
