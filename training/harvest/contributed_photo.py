"""Define a contributed photo by its key `MODEL_VERSION/LABEL/SHA256.jpg`, its senders and its metadata."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from lambda_app.contributions.contribution import photo_key, request_key
from training.interruption import UserError

KEY = re.compile(r"(?:.*/)?(?P<model_version>[^/]+)/(?P<label>[^/]+)/(?P<sha256>[0-9a-f]{64})\.jpg", re.DOTALL)
REQUEST_KEY = re.compile(r"(?:.*/)?requests/(?P<request_id>[^/]+)/(?P<sha256>[0-9a-f]{64})", re.DOTALL)


class HarvestError(UserError):
    """Report that contributions cannot be read, accepted or deleted; the message names the value and what to do."""


@dataclass(frozen=True)
class Entry:
    """One photo in a listing. A photo that was contributed with two labels or to two models has two entries."""

    key: str
    model_version: str
    label: str
    sha256: str
    day: str  # on which the storage received it, in UTC: YYYY-MM-DD

    @property
    def path(self) -> str:
        """Return the path below the folder of a review."""
        return photo_key(self.model_version, self.label, self.sha256)


def parse_key(key: str, day: str) -> Entry | None:
    """Return the entry of a key, or None if the key does not end with `MODEL_VERSION/LABEL/SHA256.jpg`."""
    match = KEY.fullmatch(key)
    if not match or {match["model_version"], match["label"]} & {".", ".."}:
        return None
    return Entry(key, day=day, **match.groupdict())


@dataclass(frozen=True)
class Sender:
    """A request that contributed a photo. A photo may have several senders; its metadata names only the last one."""

    key: str
    request_id: str
    sha256: str

    @property
    def path(self) -> str:
        """Return the path below the folder of a review."""
        return request_key(self.request_id, self.sha256)


def parse_request_key(key: str) -> Sender | None:
    """Return the sender of a key, or None if the key does not end with `requests/REQUEST_ID/SHA256`."""
    match = REQUEST_KEY.fullmatch(key)
    return Sender(key, **match.groupdict()) if match and match["request_id"] not in {".", ".."} else None


@dataclass(frozen=True)
class Origin:
    """The metadata of a contribution."""

    request_id: str
    prediction: str  # of the model that served
    confidence: float
    time: str

    @classmethod
    def parse(cls, metadata: Mapping[str, Any], key: str) -> "Origin":
        """Read the metadata as the function writes it. Raise `HarvestError` if a value is missing or invalid."""
        try:
            return cls(
                request_id=str(metadata["request-id"]),
                prediction=unquote(str(metadata["prediction"])),
                confidence=float(metadata["confidence"]),
                time=str(metadata["time"]),
            )
        except (KeyError, ValueError) as error:
            raise HarvestError(
                f"{key} has the metadata {dict(metadata)}; expected request-id, prediction, confidence (a number) and "
                f"time ({type(error).__name__}: {error})"
            ) from None


@dataclass(frozen=True)
class Candidate:
    """One row of a review: a photo with the proposed decision. `doubt` is None if the photo was not audited."""

    sha256: str
    label: str  # from the contributor; a reviewer may correct it
    prediction: str
    confidence: float
    doubt: float | None  # 1 - the probability of the label, by a network that was not trained on the photo
    decision: str  # see training.harvest.decisions.DECISIONS
    reason: str
    path: str  # of the photo, below the folder of the review
