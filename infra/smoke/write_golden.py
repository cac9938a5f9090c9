"""`make golden`: writes what the function answers for the bundled photos, from Lambda's own runtime, to golden.json."""

import json
import sys
from dataclasses import asdict
from http import HTTPStatus
from typing import Any

from infra.emulator.event import HttpRequest
from infra.emulator.runtime import RuntimeDied, RuntimeNotFound, lambda_runtime
from infra.emulator.serve import background, local_app
from infra.smoke.answers import Ask, NoAnswer, get, raw, text
from infra.smoke.expected import ANSWER, GOLDEN, SAMPLES, Golden
from infra.smoke.url import Url


def golden(ask: Ask) -> Golden:
    """Of the service that is asked."""
    info = _body(ask, get("/model/info"))
    answers = {photo.name: _body(ask, raw(photo)) for photo in sorted(SAMPLES.glob("*.jpg"))}
    photos = {photo: {name: answer[name] for name in ANSWER} for photo, answer in answers.items()}
    return Golden(info["model_version"], info["class_names"], photos)


def _body(ask: Ask, request: HttpRequest) -> Any:
    response = ask(request)
    if response.status != HTTPStatus.OK:
        raise NoAnswer(f"{request.method} {request.path} answered {response.status}, expected 200: {text(response)}")
    return json.loads(response.body)


def main() -> int:
    try:
        with (
            lambda_runtime() as runtime,
            background(local_app(runtime.endpoint)) as url,
            Url(url, auth=None, timeout_s=30) as ask,
        ):
            answers = golden(ask)
    except (RuntimeNotFound, RuntimeDied, NoAnswer) as error:
        print(f"golden: {error}", file=sys.stderr)
        return 1
    GOLDEN.write_text(json.dumps(asdict(answers), indent=2) + "\n")
    print(f"{GOLDEN.name}: {len(answers.photos)} photos, model {answers.model_version}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
