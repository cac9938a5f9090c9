"""Routes for the web page. Without JavaScript, its form posts to `/`, which returns the page with the result."""

import base64
import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from functools import cached_property
from html import escape
from pathlib import Path

from fastapi import FastAPI, Request, Response
from starlette.responses import HTMLResponse

from lambda_app.error_responses import retry_after_header
from lambda_app.errors import RequestError
from lambda_app.inference import Inference
from lambda_app.metadata import Metadata
from lambda_app.outputs import Prediction
from lambda_app.schemas import ApiInformation
from lambda_app.settings import Settings
from lambda_app.telemetry.request_log import RequestRecord
from lambda_app.uploads.photo import FORM, read_photo
from lambda_app.web.openapi import ONE_FILE, PHOTO_ERRORS, describe, list_routes
from lambda_app.web.wording import megabytes, none_of, percent, problems, question, readable, title

FILE = Path(__file__).with_name("page.html")
MAX_BARS = 5  # classes in a result
HEADERS = {
    "cache-control": "no-cache",
    "permissions-policy": "camera=(self), geolocation=(), microphone=()",
    "referrer-policy": "no-referrer",
    "vary": "accept",
}


START = describe(
    "About",
    "The web page for browsers; the list of routes as JSON for other clients",
    "Returns HTML if the request accepts `text/html`, else JSON.",
)
START["responses"][200] = {"content": {"text/html": {}}}
CLASSIFY = describe(
    "About",
    "Classify a photo from the web page's form; works without JavaScript",
    "Errors are pages, too, except 500, and 503 if the server has no capacity for the upload.",
    errors=PHOTO_ERRORS,
    body={FORM: ONE_FILE},
    error_pages=True,
)


def add_page(app: FastAPI, inference: Inference, settings: Settings) -> None:
    """Add `GET /` and `POST /`."""
    page = Page(
        inference.classifier.metadata,
        settings.max_image_bytes,
        settings.max_image_pixels,
        contributions=bool(settings.contributions),
        explains=inference.classifier.has_activation_map,
    )

    @app.get("/", response_model=ApiInformation, **START)
    async def start(request: Request, response: Response) -> ApiInformation | HTMLResponse:
        """Return the page if the client accepts `text/html`, else information about the API."""
        if "text/html" in request.headers.get("accept", ""):
            return page.render()
        response.headers["vary"] = HEADERS["vary"]
        model_version = inference.classifier.metadata.model_version
        return ApiInformation(name=app.title, model_version=model_version, routes=list_routes(app))

    @app.post("/", response_class=HTMLResponse, **CLASSIFY)
    async def form(request: Request) -> HTMLResponse:
        """Classify a photo from the page's form and return a page, also for errors."""
        record: RequestRecord = request.state.record
        try:
            classified = await inference.classify_photo(await read_photo(request, settings.max_image_bytes), record)
        except RequestError as error:
            record.error_code = error.code
            return page.render(page.render_error(error), error.status, retry_after_header(error))
        return page.render(page.render_result(classified.prediction, record.elapsed_ms()))


class Page:
    """Render the page for one model. Read its template on the first request, which keeps cold starts short."""

    def __init__(
        self, metadata: Metadata, max_bytes: int, max_pixels: int, *, contributions: bool, explains: bool
    ) -> None:
        names = metadata.class_names
        self.none = none_of(names)
        self.problems = problems(max_bytes, max_pixels)
        self.model_version = metadata.model_version
        script_data = {
            "class_names": names,
            "contributions": contributions,
            "explains": explains,
            "max_bytes": max_bytes,
            "none": self.none,
            "problems": self.problems,
        }
        self.texts = {
            "config": json.dumps(script_data).replace("<", r"\u003c"),  # a class name could close the script element
            "kept": "no photo is kept unless you share it" if contributions else "no photo is kept",
            "megabytes": megabytes(max_bytes),
            "question": escape(question(names)),
            "version": escape(self.model_version),
        }

    @cached_property
    def template(self) -> str:
        return FILE.read_text(encoding="utf-8")

    @cached_property
    def headers(self) -> dict[str, str]:
        script, style = (" ".join(csp_hashes(self.template, element)) for element in ("script", "style"))
        policy = (
            f"default-src 'none'; script-src {script}; style-src {style}; img-src blob: data:; connect-src 'self'; "
            "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
        )
        return HEADERS | {"content-security-policy": policy}

    def render(self, result: str = "", status: int = 200, headers: Mapping[str, str] | None = None) -> HTMLResponse:
        texts = self.texts | {"result": result, "result_hidden": "" if result else "hidden"}
        text = re.sub(r"{{(\w+)}}", lambda match: texts[match[1]], self.template)
        return HTMLResponse(text, status, {**self.headers, **(headers or {})})

    def render_result(self, prediction: Prediction, elapsed_ms: float) -> str:
        """Return the verdict, the bars and the facts, in the markup of `renderResult` in page.html."""
        unknown = prediction.unknown
        verdict = self.none if unknown else title(prediction.predicted_class)
        closest = escape(readable(prediction.predicted_class))
        sure = f"Closest class: <strong>{closest}</strong>."
        if not unknown:
            sure = f"<strong>{percent(prediction.confidence)}</strong> sure"
        best = sorted(prediction.probabilities.items(), key=lambda pair: -pair[1])[:MAX_BARS]
        bars = "".join(_bar(name, share) for name, share in best)
        return (
            f'{_verdict(verdict)}<p class="sure">{sure}</p><ol class="bars{"" if unknown else " known"}">{bars}</ol>'
            f'<dl class="facts"><div><dt>Server</dt><dd>{elapsed_ms:.0f} ms</dd></div>'
            f"<div><dt>Model</dt><dd>{escape(self.model_version)}</dd></div></dl>"
        )

    def render_error(self, error: RequestError) -> str:
        return f'{_verdict("No answer")}<p class="sure">{escape(self.problems[error.code])}</p>'


def _verdict(text: str) -> str:
    return f'<h2 id="verdict" class="verdict{" long" if len(text) > 12 else ""}" tabindex="-1">{escape(text)}</h2>'


def _bar(name: str, share: float) -> str:
    return (
        f"<li><span>{escape(title(name))}</span><span>{percent(share)}</span>"
        f'<svg aria-hidden="true"><rect width="{share:.2%}"/></svg></li>'
    )


def csp_hashes(text: str, element: str) -> Iterator[str]:
    """Yield the hash source of each element without attributes: https://www.w3.org/TR/CSP3/#grammardef-hash-source."""
    for content in re.findall(f"<{element}>(.*?)</{element}>", text, re.DOTALL):
        yield f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"
