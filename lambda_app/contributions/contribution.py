"""Define the keys and the metadata of a contributed photo. `make harvest` and `make forget` read them."""

import hashlib
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from urllib.parse import quote

PREFIX = "contributed"  # of all keys; the function's role may write only below it


@dataclass(frozen=True)
class Contribution:
    """A clean copy of a photo, with the client's label and the server's prediction."""

    photo: bytes  # JPEG without metadata
    label: str
    request_id: str  # of the prediction that the feedback refers to
    prediction: str
    confidence: float
    model_version: str
    time: datetime  # with a time zone

    @cached_property
    def digest(self) -> str:
        return hashlib.sha256(self.photo).hexdigest()

    @property
    def key(self) -> str:
        """Return the path within the bucket or folder. Equal photos with equal labels have equal keys."""
        return f"{PREFIX}/{self.model_version}/{self.label}/{self.digest}.jpg"

    @property
    def request_key(self) -> str:
        """Return the path of an empty object that leads from the request to the photo.

        The metadata name only the last sender of a photo, but every sender may ask to delete it.
        """
        return f"{PREFIX}/requests/{self.request_id}/{self.digest}"

    @property
    def metadata(self) -> dict[str, str]:
        """Return the metadata. Class names are percent-encoded, because S3 accepts only ASCII."""
        return {
            "request-id": self.request_id,
            "prediction": quote(self.prediction, safe=" "),
            "confidence": f"{self.confidence:.6f}",
            "time": self.time.isoformat(timespec="seconds"),
        }
