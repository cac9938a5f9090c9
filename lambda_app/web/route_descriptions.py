"""What the code of the routes does not say of them, for whoever reads /docs or README: words, bodies, errors."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lambda_app.errors import (
    BadField,
    DamagedPhoto,
    MalformedRequest,
    NoPhoto,
    Overloaded,
    PhotoTooLarge,
    RequestError,
    SlowUpload,
    UnsupportedPhoto,
    UnsupportedType,
)

FORM = "multipart/form-data"
PIXEL = "R0lGODdhAQABAIAAAAAAAP///ywAAAAAAQABAAACAkQBADs="  # a GIF of one, for it is the shortest
FILE = {"type": "string", "format": "binary"}  # the words of OpenAPI 3.0, which those of 3.1 understand too
PART = FILE | {"description": "the photo; its name and content type do not matter"}
PARTS = {"type": "array", "minItems": 1, "items": FILE, "description": "the photos, in order"}


def form(file: Mapping[str, Any]) -> dict[str, Any]:
    return {"schema": {"type": "object", "required": ["file"], "properties": {"file": file}}}


IMAGE = {
    "type": "string",
    "format": "byte",
    "description": "the photo in base64 or base64url, or as a data URL; line breaks and padding do not matter",
}
JSON_BODY = {"type": "object", "required": ["image"], "properties": {"image": IMAGE}, "examples": [{"image": PIXEL}]}
PHOTO_BODY: dict[str, Any] = {
    "required": True,
    "content": {
        "image/*": {"schema": FILE},
        FORM: form(PART),
        "application/json": {"schema": JSON_BODY},
        "application/octet-stream": {"schema": FILE},
    },
}
PHOTOS_BODY: dict[str, Any] = {"required": True, "content": {FORM: form(PARTS)}}
FORM_BODY: dict[str, Any] = {"required": True, "content": {FORM: form(PART)}}
FEEDBACK_BODY: dict[str, Any] = {
    "required": True,
    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Feedback"}}},
}
Errors = tuple[type[RequestError], ...]
OF_A_BODY: Errors = (MalformedRequest, SlowUpload, PhotoTooLarge, UnsupportedType, BadField, Overloaded)
OF_A_FORM: Errors = (NoPhoto, UnsupportedPhoto, *OF_A_BODY)
OF_A_PHOTO: Errors = (*OF_A_FORM, DamagedPhoto)


@dataclass(frozen=True)
class Operation:
    """Of one route. What is not said here, FastAPI knows from its code."""

    tag: str
    description: str
    errors: Errors = ()
    body: Mapping[str, Any] | None = None


TAGS = {
    "Photos": "Photos in, classes out.",
    "Feedback": "What the photos really showed.",
    "Instance": "The function and its model. Figures are of the instance that answers; there may be many.",
    "About": "The page and the documentation.",
    "Open Inference Protocol": "For clients of KServe and Triton: the same predictions, in the shape that they know.",
}
READ = (
    "JPEG, PNG, WebP, HEIC, AVIF, GIF, BMP and TIFF are read, in any mode (gray, palette, transparency over white, "
    "CMYK, 16 bits), upright by their EXIF orientation and in sRGB by their color profile; of an animation, the first "
    "frame. Decoding may take at most 500 MB and 2 s by the size and format that the file states, else 413."
)
OPERATIONS = {
    "POST /predict": Operation(
        "Photos",
        f"{READ} The bytes decide, not the content type: a raw body may have any. A body of text may be a data URL, or "
        'JSON with base64: `{"image": "…"}`. Here and wherever else a body is sent, `Content-Encoding` may be gzip or '
        "deflate. `unknown` says that no class was recognised; the prediction is given all the same.",
        OF_A_PHOTO,
        PHOTO_BODY,
    ),
    "POST /predict/batch": Operation(
        "Photos",
        "In the order of the files, each answered as `POST /predict` would, under a `request_id` of its own. A photo "
        "that cannot be answered has an error in its place. The network takes four at a time: with "
        "more at once each would take longer.",
        OF_A_FORM,
        PHOTOS_BODY,
    ),
    "POST /feedback": Operation(
        "Feedback",
        "Only `application/json` is accepted: pages of other sites can send anything else without a preflight "
        "request. Sending it again is harmless: the last label counts. Whether there was such a prediction, the report "
        "looks up.",
        OF_A_BODY,
        FEEDBACK_BODY,
    ),
    "GET /health": Operation("Instance", "An instance that answers has loaded its model."),
    "GET /model/info": Operation(
        "Instance", "Classes, training run, commit, data, test metrics: as the training wrote them into the file."
    ),
    "GET /metrics": Operation(
        "Instance",
        "`prediction_requests_total{predicted_class}`, `prediction_unknown_total`, `prediction_errors_total{code}`, "
        "`prediction_latency_seconds`, `feedback_total{label}` of this instance's last 10,000 predictions, "
        "`feedback_unmatched_total{label}` of all others, `health_check_requests_total`, "
        "`model_info{model_version}`.",
    ),
    "GET /prediction-log": Operation(
        "Instance", "With their classes, average confidence, average and p95 latency; never a photo or an id."
    ),
    "GET /": Operation("About", "Browsers are those that ask for `text/html`."),
    "POST /": Operation("About", "Its errors are pages too, but for 500 and 503.", OF_A_PHOTO, FORM_BODY),
    "GET /docs": Operation("About", "It runs no script and asks no other site."),
    "GET /openapi.json": Operation("About", "OpenAPI 3.1."),
}
