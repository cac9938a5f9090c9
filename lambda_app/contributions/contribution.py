"""Copy a contributed photo without metadata, and define its keys and metadata for `make harvest` and `make forget`."""

import hashlib
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from io import BytesIO
from urllib.parse import quote

from lambda_app.decoding.header import Header
from lambda_app.preprocess import shrink_from_header

PREFIX = "contributed"  # of all keys; the function's role may write only below it
REQUESTS = f"{PREFIX}/requests/"  # the prefix of the empty objects that lead from a request to its photo
SHORT_SIDE = 512  # pixels; as in page.html
QUALITY = 95  # the page encodes with at most 90, so encoding again loses little


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
        """Return the path within the bucket or folder."""
        return photo_key(self.model_version, self.label, self.digest)

    @property
    def request_key(self) -> str:
        """Return the path of an empty object that leads from the request to the photo."""
        return request_key(self.request_id, self.digest)

    @property
    def metadata(self) -> dict[str, str]:
        time = self.time.isoformat(timespec="seconds")
        return format_metadata(self.request_id, self.prediction, self.confidence, time)


def photo_key(model_version: str, label: str, digest: str) -> str:
    """Return the key of a photo. Equal photos with equal labels have equal keys."""
    return f"{PREFIX}/{model_version}/{label}/{digest}.jpg"


def request_key(request_id: str, digest: str) -> str:
    """Return the key of an empty object that leads from a request to its photo.

    The metadata names only the last sender of a photo, but every sender may ask to delete it.
    """
    return f"{REQUESTS}{request_id}/{digest}"


def format_metadata(request_id: str, prediction: str, confidence: float, time: str) -> dict[str, str]:
    """Return the metadata of a photo. Class names are percent-encoded, because S3 accepts only ASCII."""
    return {
        "request-id": request_id,
        "prediction": quote(prediction, safe=" "),
        "confidence": f"{confidence:.6f}",
        "time": time,
    }


def copy_photo(header: Header) -> bytes:
    """Return the photo as an upright sRGB JPEG of at most 512 pixels on its short side, without any metadata.

    Equal photos have equal copies. Bytes outside the picture, such as a trailer, are dropped. Raise the errors of
    `lambda_app.preprocess.shrink_from_header`.
    """
    file = BytesIO()
    shrink_from_header(header, SHORT_SIDE).save(file, "JPEG", quality=QUALITY)
    return file.getvalue()
