"""What only a URL has: who may call it, from which site, and figures that several instances would not share."""

from collections.abc import Iterator

from prometheus_client.parser import text_string_to_metric_families

from infra.emulator.event import HttpRequest
from infra.emulator.response import HttpResponse
from infra.smoke.answers import Ask, Check, Pair, get, header, raw, text
from infra.smoke.checks import switched_off
from infra.smoke.expected import SAMPLES, Expected

FOREIGN = "https://foreign.invalid"
ALLOWED = "access-control-allow-origin"


def edge_checks(ask: Ask, unsigned: Ask, *, private: bool, origin: str | None) -> Iterator[Check]:
    """`unsigned` asks the same URL as `ask` without a signature; `origin` is the site that CORS allows, if any."""
    yield Check("CORS for a foreign site", lambda: cors_foreign(ask, unsigned))
    if origin:
        yield Check(f"CORS for {origin}", lambda: cors_allowed(ask, unsigned, origin))
    if private:
        yield Check("unsigned request", lambda: ({"http": 403}, {"http": int(unsigned(get("/health")).status)}))


def preflight(origin: str) -> HttpRequest:
    """What a browser asks before it sends a photo; browsers never sign it."""
    asked = {"access-control-request-method": "POST", "access-control-request-headers": "content-type"}
    return HttpRequest("OPTIONS", "/predict", headers=tuple({"origin": origin, **asked}.items()))


def cors_foreign(ask: Ask, unsigned: Ask) -> Pair:
    """Neither its preflight nor its request is told that it may read the answer."""
    answers = {"preflight": unsigned(preflight(FOREIGN)), "request": ask(get("/health", origin=FOREIGN))}
    return dict.fromkeys(answers), {name: header(response, ALLOWED) for name, response in answers.items()}


def cors_allowed(ask: Ask, unsigned: Ask, origin: str) -> Pair:
    """The site may read the answers, and may send a photo as it is."""
    before, response = unsigned(preflight(origin)), ask(get("/health", origin=origin))
    return {"preflight": origin, "request": origin, "POST": True, "content-type": True}, {
        "preflight": header(before, ALLOWED),
        "request": header(response, ALLOWED),
        "POST": bool({"post", "*"} & _list(before, "access-control-allow-methods")),
        "content-type": bool({"content-type", "*"} & _list(before, "access-control-allow-headers")),
    }


def _list(response: HttpResponse, name: str) -> set[str]:
    return {part.strip().lower() for part in (header(response, name) or "").split(",")}


def counts(ask: Ask, expected: Expected) -> Pair:
    """A prediction more is counted; true of a single instance alone, so never asked of AWS."""
    if "/metrics" in switched_off(ask):
        return {"counted": "switched off"}, {"counted": "switched off"}
    before = _predictions(ask)
    ask(raw(SAMPLES / next(iter(expected.golden.photos))))
    return {"counted": True}, {"counted": _predictions(ask) > before}


def _predictions(ask: Ask) -> float:
    families = text_string_to_metric_families(text(ask(get("/metrics"))))
    samples = (sample for family in families for sample in family.samples)
    return sum(sample.value for sample in samples if sample.name == "prediction_requests_total")
