"""What every deployment has to answer, however it is reached: each check compares what is expected with what came."""

import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from infra.smoke.answers import Ask, Check, Pair, at, fields, get, json_of, media_type, multipart, raw, text
from infra.smoke.errors import error_checks
from infra.smoke.expected import SAMPLES, Expected

ROUTES = [
    "GET /health",
    "POST /predict",
    "POST /feedback",
    "GET /model/info",
    "GET /metrics",
    "GET /prediction-log",
    "GET /docs",
]
OPTIONAL = ["/metrics", "/model/info", "/prediction-log"]  # a deployment may switch them off: PUBLIC_ROUTES
FAMILIES = {
    "model_info": "gauge",
    "prediction_requests": "counter",
    "prediction_unknown": "counter",
    "prediction_errors": "counter",
    "feedback": "counter",
    "feedback_unmatched": "counter",
    "health_check_requests": "counter",
    "prediction_latency_seconds": "histogram",
}


def function_checks(ask: Ask, expected: Expected) -> Iterator[Check]:
    """In the order in which they are asked."""
    yield Check("GET /", lambda: information(ask, expected))
    yield Check("GET routes", lambda: routes(ask))
    yield Check("GET /model/info", lambda: model_info(ask, expected))
    for name in expected.golden.photos:
        yield Check(f"POST /predict {name}", partial(predict, ask, expected, SAMPLES / name, raw))
        yield Check(f"POST /predict {name} in a form", partial(predict, ask, expected, SAMPLES / name, multipart))
    yield from error_checks(ask)
    yield Check("GET /metrics", lambda: metrics(ask))
    yield Check("GET /openapi.json", lambda: openapi(ask, expected))


def switched_off(ask: Ask) -> set[str]:
    """Return the optional paths that the API information leaves out; each of them has to be 404."""
    listed = at(json_of(ask(get("/"))), "routes")
    return {path for path in OPTIONAL if f"GET {path}" not in listed} if listed else set()


def health(ask: Ask) -> Pair:
    return _same(ask, "/health", {"status": "healthy", "model_loaded": True})


def information(ask: Ask, expected: Expected) -> Pair:
    """Also that it lists every route that is asked below."""
    response = ask(get("/"))
    seen = fields(response, ["model_version", "routes"])
    listed, off = seen.get("routes") or {}, switched_off(ask)
    required = [route for route in ROUTES if route.removeprefix("GET ") not in off]
    wanted = {"http": 200, "type": "application/json", "model_version": expected.model_version, "routes": required}
    return wanted, seen | {"routes": [route for route in ROUTES if route in listed]}


def routes(ask: Ask) -> Pair:
    """Every GET that the API information lists answers, and none that is switched off."""
    listed, off = at(json_of(ask(get("/"))), "routes") or {}, switched_off(ask)
    paths = [route.removeprefix("GET ") for route in sorted({*ROUTES, *listed}) if re.fullmatch(r"GET /[^{]*", route)]
    return {path: 404 if path in off else 200 for path in paths}, {path: int(ask(get(path)).status) for path in paths}


def model_info(ask: Ask, expected: Expected) -> Pair:
    """The model, image and commit just deployed, not older ones."""
    wanted = {"model_version": expected.model_version, "class_names": expected.golden.class_names}
    wanted |= {"commit": expected.commit} if expected.commit else {}
    wanted |= {"image": expected.image} if expected.image else {}
    if "/model/info" in switched_off(ask):
        return {"http": 404}, {"http": int(ask(get("/model/info")).status)}
    return _same(ask, "/model/info", wanted)


def predict(ask: Ask, expected: Expected, photo: Path, request: Callable[[Path], Any]) -> Pair:
    answer = expected.golden.answer(photo.name) | {"model_version": expected.model_version}
    return {"http": 200, "type": "application/json"} | answer, fields(ask(request(photo)), list(answer))


def metrics(ask: Ask) -> Pair:
    """The text is Prometheus' own."""
    response = ask(get("/metrics"))
    if "/metrics" in switched_off(ask):
        return {"http": 404}, {"http": int(response.status)}
    wanted = {"http": 200, "type": "text/plain"} | FAMILIES
    seen = {"http": int(response.status), "type": media_type(response)}
    try:
        kinds = {family.name: family.type for family in text_string_to_metric_families(text(response))}
    except ValueError as error:
        return wanted, seen | {"unreadable": str(error)}
    return wanted, seen | {name: kinds.get(name) for name in FAMILIES}


def openapi(ask: Ask, expected: Expected) -> Pair:
    response = ask(get("/openapi.json"))
    body, off = json_of(response), switched_off(ask)
    paths = ["/health", "/predict", "/feedback", *(path for path in OPTIONAL if path not in off)]
    wanted = {"http": 200, "type": "application/json", "version": expected.model_version, "paths": paths}
    described = [path for path in paths if at(body, "paths", path)]
    return wanted, fields(response, []) | {"version": at(body, "info", "version"), "paths": described}


def _same(ask: Ask, path: str, body: dict[str, Any]) -> Pair:
    return {"http": 200, "type": "application/json"} | body, fields(ask(get(path)), list(body))
