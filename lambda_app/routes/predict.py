"""Routes that classify photos."""

from fastapi import FastAPI, Request

from lambda_app.classifier import Prediction
from lambda_app.errors import RequestError, UnsupportedPhoto
from lambda_app.inference import Inference
from lambda_app.schemas import ErrorDetail, ErrorResponse, PredictionResponse
from lambda_app.settings import Settings
from lambda_app.telemetry.request_log import Record
from lambda_app.uploads.photo import FORM, read_photo, read_photos, with_advice
from lambda_app.web.openapi import FORM_ERRORS, MANY_FILES, PHOTO_BODY, PHOTO_ERRORS, describe

FORMATS = (
    "Accepts JPEG, PNG, WebP, HEIC, AVIF, GIF, BMP and TIFF in any mode (gray, palette, CMYK, 16 bits; transparency is "
    "drawn over white). Applies the EXIF orientation, converts color profiles to sRGB and uses the first frame of an "
    "animation. Returns 413 if the size and format in the file's header imply more than 500 MB or 2 s of decoding."
)
PREDICT = describe(
    "Photos",
    "Classify one photo: a raw body, the multipart file 'file', or base64 in JSON",
    f"{FORMATS} The content decides, not the content type: a raw body may have any. A text body may be a data "
    'URL, or JSON with base64: `{"image": "…"}`. On every route, `Content-Encoding` may be gzip or deflate. '
    "If `unknown` is true, the photo shows none of the classes; the response has a prediction nevertheless.",
    errors=PHOTO_ERRORS,
    body=PHOTO_BODY,
)
PREDICT_BATCH = describe(
    "Photos",
    "Classify several photos: multipart files named 'file'",
    "The results have the order of the files, and each is that of `POST /predict`, with its own `request_id`. "
    "A photo that cannot be classified has an error in its place. The network runs on four photos at a time, "
    "because larger runs take longer per photo.",
    errors=FORM_ERRORS,
    body={FORM: MANY_FILES},
)


def add_photo_routes(app: FastAPI, inference: Inference, settings: Settings) -> None:
    """Add `POST /predict` and `POST /predict/batch`."""
    model_version = inference.classifier.metadata.model_version

    @app.post("/predict", **PREDICT)
    async def predict(request: Request) -> PredictionResponse:
        record: Record = request.state.record
        data = await read_photo(request, settings.max_image_bytes)
        try:
            prediction = await inference.classify_photo(data, record)
        except UnsupportedPhoto as error:
            raise with_advice(error, request) from error
        return response(prediction, record.request_id, record.elapsed_ms())

    @app.post("/predict/batch", **PREDICT_BATCH)
    async def predict_batch(request: Request) -> list[PredictionResponse | ErrorResponse]:
        record: Record = request.state.record
        photos = await read_photos(request, settings.max_image_bytes, settings.max_batch)
        classified = await inference.classify_photos(photos, record)
        share_ms = record.elapsed_ms() / len(photos)
        return [
            error_of(result, record.request_id)
            if isinstance(result, RequestError)
            else response(result.prediction, result.request_id, share_ms)
            for result in classified
        ]

    def response(prediction: Prediction, request_id: str, elapsed_ms: float) -> PredictionResponse:
        return PredictionResponse(
            predicted_class=prediction.predicted_class,
            predicted_label=prediction.label,
            confidence=prediction.confidence,
            probabilities=prediction.probabilities,
            unknown=prediction.unknown,
            model_version=model_version,
            request_id=request_id,
            processing_time_ms=round(elapsed_ms, 3),
        )


def error_of(error: RequestError, request_id: str) -> ErrorResponse:
    """Return the error with the id of the whole request, whose log line counts it."""
    return ErrorResponse(error=ErrorDetail(code=error.code, message=str(error), request_id=request_id))
