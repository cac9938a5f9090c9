"""Define the checks that every deployment must pass, over a URL or through the Invoke API."""

import base64
import re
import struct
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from infra.emulator.event import HttpRequest, predict_request
from infra.emulator.response import HttpResponse
from infra.smoke.golden import SAMPLES, Expected
from infra.smoke.messages import (
    MAX_BODY_CHARACTERS,
    Ask,
    at,
    fields,
    get,
    json_of,
    media_type,
    post,
    post_multipart,
    text,
)
from infra.smoke.runner import Check, Pair

ROUTES = [
    "GET /health",
    "POST /predict",
    "POST /feedback",
    "GET /model/info",
    "GET /metrics",
    "GET /prediction-log",
    "GET /docs",
]
OPTIONAL_PATHS = ["/metrics", "/model/info", "/prediction-log"]  # the setting PUBLIC_ROUTES can disable these
METRIC_TYPES = {
    "model_info": "gauge",
    "prediction_requests": "counter",
    "prediction_unknown": "counter",
    "prediction_errors": "counter",
    "feedback": "counter",
    "feedback_unmatched": "counter",
    "contributions": "counter",
    "health_check_requests": "counter",
    "prediction_latency_seconds": "histogram",
}
CAT = SAMPLES / "cat.jpg"
JPEG = "image/jpeg"
ERROR_FIELDS = ["code", "message", "request_id"]
STACK_TRACE = re.compile(r"Traceback \(most recent call last\)|File \\*\"[^\"]+\", line \d+")
# Over the function's limit of 4.5 MB, and in base64 still under the 6 MB that Lambda accepts.
TOO_MANY_BYTES = 4_600_000


def health_check(ask: Ask) -> Check:
    """Return the check that all others wait for."""
    return Check("GET /health", lambda: _compare_json(ask, "/health", {"status": "healthy", "model_loaded": True}))


def function_checks(ask: Ask, expected: Expected) -> Iterator[Check]:
    """Yield the checks in the order in which they run."""
    yield Check("GET /", lambda: api_information(ask, expected))
    yield Check("GET routes", lambda: listed_routes(ask))
    yield Check("GET /model/info", lambda: model_info(ask, expected))
    for name in expected.golden.photos:
        yield Check(f"POST /predict {name}", partial(predict, ask, expected, SAMPLES / name, predict_request))
        yield Check(f"POST /predict {name} in a form", partial(predict, ask, expected, SAMPLES / name, post_multipart))
    for name, (status, code, request) in ERRORS.items():
        yield Check(f"{status} {code}: {name}", partial(error_response, ask, status, code, request))
    yield Check("GET /metrics", lambda: metrics(ask))
    yield Check("GET /openapi.json", lambda: openapi(ask, expected))


def disabled_paths(ask: Ask) -> set[str]:
    """Return the optional paths that the API information does not list; each must answer 404."""
    listed = at(json_of(ask(get("/"))), "routes")
    return {path for path in OPTIONAL_PATHS if f"GET {path}" not in listed} if listed else set()


def api_information(ask: Ask, expected: Expected) -> Pair:
    """Compare the model version and the list of routes, which must have every enabled one of `ROUTES`."""
    response = ask(get("/"))
    actual = fields(response, ["model_version", "routes"])
    listed, disabled = actual.get("routes") or {}, disabled_paths(ask)
    routes = [route for route in ROUTES if route.removeprefix("GET ") not in disabled]
    required = {"http": 200, "type": "application/json", "model_version": expected.model_version, "routes": routes}
    return required, actual | {"routes": [route for route in ROUTES if route in listed]}


def listed_routes(ask: Ask) -> Pair:
    """Compare the statuses of all GET routes without parameters: 200 if enabled, 404 if disabled."""
    listed, disabled = at(json_of(ask(get("/"))), "routes") or {}, disabled_paths(ask)
    paths = [route.removeprefix("GET ") for route in sorted({*ROUTES, *listed}) if re.fullmatch(r"GET /[^{]*", route)]
    statuses = {path: int(ask(get(path)).status) for path in paths}
    return {path: 404 if path in disabled else 200 for path in paths}, statuses


def model_info(ask: Ask, expected: Expected) -> Pair:
    """Compare the model, image and commit with those just deployed."""
    required = {"model_version": expected.model_version, "class_names": expected.golden.class_names}
    required |= {"commit": expected.commit} if expected.commit else {}
    required |= {"image": expected.image} if expected.image else {}
    if "/model/info" in disabled_paths(ask):
        return {"http": 404}, {"http": int(ask(get("/model/info")).status)}
    return _compare_json(ask, "/model/info", required)


def predict(ask: Ask, expected: Expected, photo: Path, request: Callable[[Path], HttpRequest]) -> Pair:
    """Compare the prediction with the golden answer."""
    answer = expected.golden.answer(photo.name) | {"model_version": expected.model_version}
    return {"http": 200, "type": "application/json"} | answer, fields(ask(request(photo)), list(answer))


def metrics(ask: Ask) -> Pair:
    """Compare the types of the metrics, as Prometheus's own parser reads them."""
    response = ask(get("/metrics"))
    if "/metrics" in disabled_paths(ask):
        return {"http": 404}, {"http": int(response.status)}
    required = {"http": 200, "type": "text/plain"} | METRIC_TYPES
    actual = {"http": int(response.status), "type": media_type(response)}
    try:
        types = {family.name: family.type for family in text_string_to_metric_families(text(response))}
    except ValueError as error:
        return required, actual | {"unreadable": str(error)}
    return required, actual | {name: types.get(name) for name in METRIC_TYPES}


def metrics_count(ask: Ask, expected: Expected) -> Pair:
    """Check that a prediction increments the counter. Requires a service with one instance."""
    if "/metrics" in disabled_paths(ask):
        return {"counted": "disabled"}, {"counted": "disabled"}
    before = _prediction_count(ask)
    ask(predict_request(SAMPLES / next(iter(expected.golden.photos))))
    return {"counted": True}, {"counted": _prediction_count(ask) > before}


def _prediction_count(ask: Ask) -> float:
    families = text_string_to_metric_families(text(ask(get("/metrics"))))
    samples = (sample for family in families for sample in family.samples)
    return sum(sample.value for sample in samples if sample.name == "prediction_requests_total")


def openapi(ask: Ask, expected: Expected) -> Pair:
    """Compare the version and the paths of the OpenAPI document."""
    response = ask(get("/openapi.json"))
    body, disabled = json_of(response), disabled_paths(ask)
    paths = ["/health", "/predict", "/feedback", *(path for path in OPTIONAL_PATHS if path not in disabled)]
    required = {"http": 200, "type": "application/json", "version": expected.model_version, "paths": paths}
    described = [path for path in paths if at(body, "paths", path)]
    return required, fields(response, []) | {"version": at(body, "info", "version"), "paths": described}


def _compare_json(ask: Ask, path: str, body: dict[str, Any]) -> Pair:
    return {"http": 200, "type": "application/json"} | body, fields(ask(get(path)), list(body))


def error_response(ask: Ask, status: int, code: str, request: Callable[[], HttpRequest]) -> Pair:
    """Compare an error's status, code and shape, which must hold no stack trace."""
    response = ask(request())
    required = {"http": status, "type": "application/json", "code": code, "error": ERROR_FIELDS, "stack trace": None}
    return required, fields(response, []) | _error_fields(response)


def _error_fields(response: HttpResponse) -> dict[str, Any]:
    """Return the code, the names of the fields that hold text, and the first line of a stack trace if there is one."""
    body = json_of(response)
    error = at(body, "error")
    if not isinstance(error, dict) or len(body) > 1:
        return {"body": text(response)[:MAX_BODY_CHARACTERS]}
    filled = sorted(name for name, value in error.items() if value and isinstance(value, str))
    trace = STACK_TRACE.search(text(response))
    return {"code": error.get("code"), "error": filled, "stack trace": trace and trace[0]}


def _make_huge_gif() -> bytes:
    """Return a GIF of 2.5 billion pixels in 35 bytes, which the function must reject without decoding it."""
    pixel = base64.b64decode("R0lGODdhAQABAIAAAAAAAP///ywAAAAAAQABAAACAkQBADs=")
    return pixel[:6] + struct.pack("<HH", 50_000, 50_000) + pixel[10:]


# The errors that one request can cause, except `bad_field`, `no_explanation` and those of contributions.
ERRORS: dict[str, tuple[int, str, Callable[[], HttpRequest]]] = {
    "an empty photo": (400, "no_file", lambda: post(JPEG, b"")),
    "a form without a file": (400, "no_file", lambda: post_multipart(CAT, field="other")),
    "an invalid form": (400, "bad_request", lambda: post("multipart/form-data; boundary=x", b"not a form")),
    "an unknown route": (404, "not_found", lambda: get("/nowhere")),
    "an unsupported method": (405, "method_not_allowed", lambda: HttpRequest("DELETE", "/predict")),
    "too many pixels": (413, "too_large", lambda: post("image/gif", _make_huge_gif())),
    "too many bytes": (413, "too_large", lambda: post(JPEG, bytes(TOO_MANY_BYTES))),
    "not an image": (415, "unsupported_image", lambda: post(JPEG, b"not a photo")),
    "not an image, sent as text": (415, "unsupported_image", lambda: post("text/plain", b"not a photo")),
    # A page of another origin can send text without a preflight request.
    "feedback sent as text": (415, "unsupported_media_type", lambda: post("text/plain", b"{}", "/feedback")),
    "a truncated photo": (422, "damaged_image", lambda: post(JPEG, CAT.read_bytes()[:2000])),
}
