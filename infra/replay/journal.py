"""Write and read the journal of a replay: one JSON line per photo, appended as answers arrive."""

import contextlib
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

NO_ANSWER = 0  # stored in place of an HTTP status
LINE_START = b'{"photo":'
EXPECTED = "expected a journal that infra.replay wrote"
REFUSED = {400, 413, 415, 422}  # these statuses concern the photo; all others concern the service or the network


class JournalError(Exception):
    """The file is not a journal or cannot be written. The message names the file."""


class Prediction(BaseModel):
    """The fields of a `/predict` response that the journal keeps."""

    request_id: str
    model_version: str
    predicted_class: str
    confidence: float
    unknown: bool


class Answer(BaseModel):
    """The outcome for one photo. The fields of `Prediction` are None if the photo was not classified."""

    model_config = ConfigDict(frozen=True)

    photo: str
    label: str
    url: str = Field(default="", description="base URL of the service")
    status: int = NO_ANSWER
    error_code: str | None = None
    request_id: str | None = None
    model_version: str | None = None
    predicted_class: str | None = None
    confidence: float | None = None
    unknown: bool | None = None
    latency_ms: float | None = Field(default=None, description="from sending the photo to the last byte of the answer")
    late_ms: float = Field(description="delay after the scheduled time, because all connections were busy")
    feedback_status: int | None = Field(default=None, description="None if no feedback was sent")

    @property
    def is_done(self) -> bool:
        """Return whether the photo was classified or refused, and its feedback, if any, accepted."""
        return (self.predicted_class is not None or self.status in REFUSED) and self.feedback_status in {None, 200}


class Journal:
    """A context manager that appends answers to a file.

    `answers` holds what the file contained when it was opened. Raise `JournalError` if the file is not a journal or
    cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> Self:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.path.touch()
            self.answers = read(self.path)
            self._file = self.path.open("ab")
            # An interrupted write leaves a last line without a newline. Drop it; its photo is sent again.
            self._file.truncate(self.path.read_bytes().rfind(b"\n") + 1)
        except OSError as error:
            raise self._unwritable(error) from error
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):  # `write` has already raised the error
            self._file.close()

    def check(self, url: str, model_version: str) -> None:
        """Raise `JournalError` if the file holds answers of another service or model version."""
        for answer in self.answers.values():
            if answer.url != url or (answer.model_version or model_version) != model_version:
                raise JournalError(
                    f"{self.path}: {answer.photo} was sent to {answer.url} ({answer.model_version}); "
                    f"expected {url} ({model_version}): choose another file, or delete this one"
                )

    def write(self, answer: Answer) -> None:
        """Append an answer and flush it. Raise `JournalError` if that fails."""
        try:
            self._file.write(answer.model_dump_json().encode() + b"\n")
            self._file.flush()
        except OSError as error:
            raise self._unwritable(error) from error

    def _unwritable(self, error: OSError) -> JournalError:
        return JournalError(f"{self.path}: {error.strerror}; expected a file that can be written")


def read(path: Path) -> dict[str, Answer]:
    """Return the last answer of each photo, by name. Skip an incomplete last line.

    Raise `JournalError` if the file cannot be read or is not a journal.
    """
    try:
        *lines, rest = path.read_bytes().split(b"\n")
    except OSError as error:
        raise JournalError(f"{path}: {error.strerror}; {EXPECTED}") from error
    if not LINE_START.startswith(rest[: len(LINE_START)]):
        raise JournalError(f"{path}: its last line begins with {rest[:20]!r}; {EXPECTED}")
    answers = (_parse_line(path, number, line) for number, line in enumerate(lines, 1))
    return {answer.photo: answer for answer in answers}


def _parse_line(path: Path, number: int, line: bytes) -> Answer:
    try:
        return Answer.model_validate_json(line)
    except ValidationError as error:
        problem = error.errors()[0]
        location = " ".join([f"line {number}", *map(str, problem["loc"])])
        raise JournalError(f"{path}: {location}: {problem['msg']}; {EXPECTED}") from None
