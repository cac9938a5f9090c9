"""Describe the routes for OpenAPI: descriptions, request bodies and errors that FastAPI cannot derive."""

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
PIXEL = "R0lGODdhAQABAIAAAAAAAP///ywAAAAAAQABAAACAkQBADs="  # a GIF of one pixel, the shortest image
FILE = {"type": "string", "format": "binary"}  # OpenAPI 3.0 syntax, which 3.1 tools accept too
PART = FILE | {"description": "the photo; its file name and content type are ignored"}
PARTS = {"type": "array", "minItems": 1, "items": FILE, "description": "the photos, in order"}


def form(file: Mapping[str, Any]) -> dict[str, Any]:
    return {"schema": {"type": "object", "required": ["file"], "properties": {"file": file}}}


IMAGE = {
    "type": "string",
    "format": "byte",
    "description": "the photo in base64 or base64url, or as a data URL; line breaks and padding are ignored",
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
BODY_ERRORS: Errors = (MalformedRequest, SlowUpload, PhotoTooLarge, UnsupportedType, BadField, Overloaded)
FORM_ERRORS: Errors = (NoPhoto, UnsupportedPhoto, *BODY_ERRORS)
PHOTO_ERRORS: Errors = (*FORM_ERRORS, DamagedPhoto)


@dataclass(frozen=True)
class Operation:
    """Description of one route; FastAPI derives the rest from its code."""

    tag: str
    description: str
    errors: Errors = ()
    body: Mapping[str, Any] | None = None


TAGS = {
    "Photos": "Classification of photos.",
    "Feedback": "True classes of photos, for monitoring and retraining.",
    "Instance": "The function and its model. Metrics cover the instance that answers; several may run.",
    "About": "The web page and the documentation.",
    "Open Inference Protocol": "The same predictions for clients of KServe and Triton.",
}
READ = (
    "Accepts JPEG, PNG, WebP, HEIC, AVIF, GIF, BMP and TIFF in any mode (gray, palette, CMYK, 16 bits; transparency is "
    "drawn over white). Applies the EXIF orientation, converts color profiles to sRGB and uses the first frame of an "
    "animation. Returns 413 if the size and format in the file's header imply more than 500 MB or 2 s of decoding."
)
OPERATIONS = {
    "POST /predict": Operation(
        "Photos",
        f"{READ} The format is detected from the bytes; a raw body may have any content type. A text body may be a "
        'data URL or JSON with base64: `{"image": "…"}`. All routes with a body accept the `Content-Encoding` gzip and '
        "deflate. If `unknown` is true, the photo shows none of the classes; the prediction is returned nevertheless.",
        PHOTO_ERRORS,
        PHOTO_BODY,
    ),
    "POST /predict/batch": Operation(
        "Photos",
        "Returns one result per file, in order, as `POST /predict` does, each with its own `request_id`. A photo that "
        "cannot be classified has an error in its place. The network runs four photos at a time, since larger batches "
        "take longer per photo.",
        FORM_ERRORS,
        PHOTOS_BODY,
    ),
    "POST /feedback": Operation(
        "Feedback",
        "Accepts `application/json` only: pages of other sites can send other types without a preflight request. "
        "Idempotent: the last label counts. The monitoring report checks whether the prediction "
        "exists.",
        BODY_ERRORS,
        FEEDBACK_BODY,
    ),
    "GET /health": Operation("Instance", "An instance that responds has loaded its model."),
    "GET /model/info": Operation(
        "Instance",
        "Returns the classes, training run, commit, data hash and test metrics that the model file contains.",
    ),
    "GET /metrics": Operation(
        "Instance",
        "Exports `prediction_requests_total{predicted_class}`, `prediction_unknown_total`, "
        "`prediction_errors_total{code}`, `prediction_latency_seconds`, `feedback_total{label}` of this "
        "instance's last 10,000 predictions, `feedback_unmatched_total{label}` of others, "
        "`health_check_requests_total`, `model_info{model_version}`.",
    ),
    "GET /prediction-log": Operation(
        "Instance", "Returns classes, average confidence, and average and p95 latency; never a photo or an id."
    ),
    "GET /": Operation("About", "Returns the page if the `Accept` header contains `text/html`."),
    "POST /": Operation("About", "Returns errors as pages, too, except 500 and 503.", PHOTO_ERRORS, FORM_BODY),
    "GET /docs": Operation("About", "Runs no script and loads nothing from other sites."),
    "GET /openapi.json": Operation("About", "Returns the OpenAPI 3.1 document."),
}
