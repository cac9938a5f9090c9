"""Read and write golden.json: the model that serves, and its answers for the bundled photos.

`make golden` runs this module, which starts Lambda's runtime on this machine and records what the function answers.
"""

import json
import sys
from dataclasses import asdict, dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any, Self

from infra import ROOT
from infra.emulator.event import HttpRequest, predict_request
from infra.smoke.messages import Ask, NoAnswer, get, text

SAMPLES = ROOT / "data/samples"
GOLDEN = Path(__file__).with_name("golden.json")
# The fields of /predict's answer that are the same every time.
ANSWER = ("predicted_class", "predicted_label", "confidence", "probabilities", "unknown")

# Processors round differently: emulated ones with AVX alone and with AVX2 differ from one with AVX-512 by 3e-8, and an
# unoptimized graph differs by 9e-8. The same network in int8 instead of fp16 differs by 4e-3.
TOLERANCE = 0.001


class Near(float):
    """A probability that equals every number within `TOLERANCE` of it."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, int | float) and abs(self - other) <= TOLERANCE

    __hash__ = None  # type: ignore[assignment]  # approximate equality cannot have a consistent hash


class GoldenError(Exception):
    """The golden answers cannot be read; the message names their file."""


@dataclass(frozen=True)
class Golden:
    model_version: str
    class_names: list[str]
    photos: dict[str, dict[str, Any]]  # file name to the fields in ANSWER

    @classmethod
    def read(cls, path: Path = GOLDEN) -> Self:
        """Return the golden answers. Raise `GoldenError` if the file is missing or does not contain golden answers."""
        try:
            return cls(**json.loads(path.read_text()))
        except (OSError, ValueError, TypeError) as error:
            raise GoldenError(f"{path}: expected golden answers, which `make golden` writes: {error}") from error

    def answer(self, photo: str) -> dict[str, Any]:
        """Return the answer for one photo, with probabilities that compare within `TOLERANCE`."""
        answer = self.photos[photo]
        probabilities = {name: Near(value) for name, value in answer["probabilities"].items()}
        return answer | {"confidence": Near(answer["confidence"]), "probabilities": probabilities}


@dataclass(frozen=True)
class Expected:
    golden: Golden
    model_version: str
    commit: str = ""  # empty: any commit passes
    image: str = ""  # empty: any image passes


def record_golden(ask: Ask) -> Golden:
    """Return what a service answers for the bundled photos. Raise `NoAnswer` if a response is not 200."""
    info = _json_body(ask, get("/model/info"))
    answers = {photo.name: _json_body(ask, predict_request(photo)) for photo in sorted(SAMPLES.glob("*.jpg"))}
    photos = {photo: {name: answer[name] for name in ANSWER} for photo, answer in answers.items()}
    return Golden(info["model_version"], info["class_names"], photos)


def _json_body(ask: Ask, request: HttpRequest) -> Any:
    response = ask(request)
    if response.status != HTTPStatus.OK:
        raise NoAnswer(f"{request.method} {request.path} answered {response.status}, expected 200: {text(response)}")
    return json.loads(response.body)


def main() -> int:
    # The function's image contains this module, for the hook, but not the modules below.
    from infra.emulator.runtime import RuntimeDied, RuntimeNotFound, lambda_runtime  # noqa: PLC0415
    from infra.emulator.serve import background, local_app  # noqa: PLC0415
    from infra.smoke.url import UrlClient  # noqa: PLC0415

    try:
        with (
            lambda_runtime() as runtime,
            background(local_app(runtime)) as url,
            UrlClient(url, auth=None, timeout_s=30) as ask,
        ):
            golden = record_golden(ask)
    except (RuntimeNotFound, RuntimeDied, NoAnswer) as error:
        print(f"golden: {error}", file=sys.stderr)
        return 1
    GOLDEN.write_text(json.dumps(asdict(golden), indent=2) + "\n")
    print(f"{GOLDEN.name}: {len(golden.photos)} photos, model {golden.model_version}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
