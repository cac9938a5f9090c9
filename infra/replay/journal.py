"""What came back, one JSON line a photo: written as answers come, read again to go on or to evaluate."""

import contextlib
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

NONE = 0  # in place of an HTTP status: no answer came
START = b'{"photo":'  # of every line
EXPECTED = "expected what infra.replay wrote"
REFUSED = {400, 413, 415, 422}  # these speak of the photo; the others, of the service or the way to it


class JournalError(Exception):
    """The file is no journal, or cannot be written; the message names it."""


class Prediction(BaseModel):
    """Of /predict's answer."""

    model_config = ConfigDict(protected_namespaces=())  # `model_version` is the field's own name

    request_id: str
    model_version: str
    predicted_class: str
    confidence: float
    unknown: bool


class Answer(BaseModel):
    """Of one photo; what a Prediction says is None where there is none."""

    model_config = ConfigDict(frozen=True, protected_namespaces=())

    photo: str
    label: str
    url: str = Field(default="", description="of the service that was asked")
    status: int = NONE
    error_code: str | None = None
    request_id: str | None = None
    model_version: str | None = None
    predicted_class: str | None = None
    confidence: float | None = None
    unknown: bool | None = None
    latency_ms: float | None = Field(default=None, description="from sending to the last byte of the answer")
    late_ms: float = Field(description="sent so much after its time, for all connections were busy")
    feedback_status: int | None = Field(default=None, description="None: no feedback was sent")

    @property
    def done(self) -> bool:
        """The photo was classified or refused, and its feedback, where there was one, taken."""
        return (self.predicted_class is not None or self.status in REFUSED) and self.feedback_status in {None, 200}


class Journal:
    """A context: the file is open for as long; `answers` are those that it held before. Raises JournalError."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> Self:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.path.touch()
            self.answers = read(self.path)
            self._file = self.path.open("ab")
            # A line that a power cut tore off has no end; its photo is sent again.
            self._file.truncate(self.path.read_bytes().rfind(b"\n") + 1)
        except OSError as error:
            raise self._unwritable(error) from error
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):  # what could not be written was told by `write`
            self._file.close()

    def check(self, url: str, model_version: str) -> None:
        """What another service or model answered is no answer of this one. Raises JournalError."""
        for answer in self.answers.values():
            if answer.url != url or (answer.model_version or model_version) != model_version:
                raise JournalError(
                    f"{self.path}: {answer.photo} was sent to {answer.url} ({answer.model_version}); "
                    f"expected {url} ({model_version}): name another file, or remove this one"
                )

    def write(self, answer: Answer) -> None:
        try:
            self._file.write(answer.model_dump_json().encode() + b"\n")
            self._file.flush()
        except OSError as error:
            raise self._unwritable(error) from error

    def _unwritable(self, error: OSError) -> JournalError:
        return JournalError(f"{self.path}: {error.strerror}; expected a file that can be written")


def read(path: Path) -> dict[str, Answer]:
    """By photo; of one that was sent again, the last. A torn last line is left out. Raises JournalError."""
    try:
        *lines, torn = path.read_bytes().split(b"\n")
    except OSError as error:
        raise JournalError(f"{path}: {error.strerror}; {EXPECTED}") from error
    if not START.startswith(torn[: len(START)]):
        raise JournalError(f"{path}: its last line begins with {torn[:20]!r}; {EXPECTED}")
    answers = (_answer(path, number, line) for number, line in enumerate(lines, 1))
    return {answer.photo: answer for answer in answers}


def _answer(path: Path, number: int, line: bytes) -> Answer:
    try:
        return Answer.model_validate_json(line)
    except ValidationError as error:
        problem = error.errors()[0]
        where = " ".join([f"line {number}", *map(str, problem["loc"])])
        raise JournalError(f"{path}: {where}: {problem['msg']}; {EXPECTED}") from None
