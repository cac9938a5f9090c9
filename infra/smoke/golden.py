"""What a good deployment answers: the golden answers of the bundled photos, and what was just deployed."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

ROOT = Path(__file__).parents[2]
SAMPLES = ROOT / "data/samples"
GOLDEN = Path(__file__).with_name("golden.json")
# Of /predict's answer; the rest is another every time.
ANSWER = ("predicted_class", "predicted_label", "confidence", "probabilities", "unknown")

# Other processors round otherwise: emulated ones with AVX alone and with AVX2 differ from one with AVX-512 by 3e-8, a
# graph that was not optimised by 9e-8. The same network in int8 instead of fp16 differs by 4e-3.
TOLERANCE = 0.001


class Near(float):
    """A probability that equals whatever is within TOLERANCE of it."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, int | float) and abs(self - other) <= TOLERANCE

    __hash__ = None  # type: ignore[assignment]  # what is merely near has no hash


class GoldenError(Exception):
    """There are no golden answers to compare with; the message says where they were looked for."""


@dataclass(frozen=True)
class Golden:
    model_version: str
    class_names: list[str]
    photos: dict[str, dict[str, Any]]  # file name to ANSWER

    @classmethod
    def read(cls, path: Path = GOLDEN) -> Self:
        try:
            return cls(**json.loads(path.read_text()))
        except (OSError, ValueError, TypeError) as error:
            raise GoldenError(f"{path}: expected golden answers, which `make golden` writes: {error}") from error

    def answer(self, photo: str) -> dict[str, Any]:
        """ANSWER of one photo, its probabilities to be compared within TOLERANCE."""
        answer = self.photos[photo]
        probabilities = {name: Near(value) for name, value in answer["probabilities"].items()}
        return answer | {"confidence": Near(answer["confidence"]), "probabilities": probabilities}


@dataclass(frozen=True)
class Expected:
    golden: Golden
    model_version: str
    commit: str = ""  # empty: whatever is there
    image: str = ""
