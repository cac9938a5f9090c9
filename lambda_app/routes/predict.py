"""Routes that classify photos."""

from typing import Any

from fastapi import FastAPI, Request
from starlette.responses import JSONResponse, Response

from lambda_app.classifier import Classifier
from lambda_app.errors import BadField, NoExplanation, RequestError, UnsupportedPhoto
from lambda_app.inference import Inference
from lambda_app.prediction_record import PredictionRecord
from lambda_app.schemas import ErrorDetail, ErrorResponse, PredictionResponse
from lambda_app.settings import Settings
from lambda_app.telemetry.request_log import RequestRecord
from lambda_app.uploads.photo import FORM, read_photo, read_photos, with_advice
from lambda_app.web.openapi import EXPLAIN_PARAMETER, FORM_ERRORS, MANY_FILES, PHOTO_BODY, PHOTO_ERRORS, describe

PREDICT = describe(
    "Photos",
    "Classify one photo: a raw body, the multipart file 'file', or base64 in JSON",
    "Accepts JPEG, PNG, WebP, HEIC, AVIF, GIF, BMP and TIFF in any mode (gray, palette, CMYK, 16 bits; transparency is "
    "drawn over white). Applies the EXIF orientation, converts color profiles to sRGB and uses the first frame of an "
    "animation. Returns 413 if the size and format in the file's header imply more than 500 MB or 2 s of decoding. "
    "A raw body may have any content type: the format is detected from the bytes. A text body may be a data "
    'URL, or JSON with base64: `{"image": "…"}`. On every route, `Content-Encoding` may be gzip or deflate. '
    "If `unknown` is true, the photo probably shows none of the classes; the response has a prediction nevertheless. "
    "With `explain=1`, `explanation` shows which parts of the photo count toward the predicted class.",
    errors=(*PHOTO_ERRORS, NoExplanation),
    body=PHOTO_BODY,
    parameters=[EXPLAIN_PARAMETER],
)
PREDICT_BATCH = describe(
    "Photos",
    "Classify several photos: multipart files named 'file'",
    "Returns the results in the order of the files. Each is a response of `POST /predict` with its own `request_id`. "
    "A photo that cannot be classified has an error in its place. The network runs on two photos at a time, "
    "because larger runs are no faster. With `explain=1`, each prediction has an `explanation`.",
    errors=(*FORM_ERRORS, NoExplanation),
    body={FORM: MANY_FILES},
    parameters=[EXPLAIN_PARAMETER],
)


def add_photo_routes(app: FastAPI, inference: Inference, settings: Settings) -> None:
    """Add `POST /predict` and `POST /predict/batch`."""
    model_version = inference.classifier.metadata.model_version

    @app.post("/predict", response_model=PredictionResponse, **PREDICT)
    async def predict(request: Request) -> PredictionResponse | Response:
        record: RequestRecord = request.state.record
        explain = is_explanation_requested(request, inference.classifier)
        data = await read_photo(request, settings.max_image_bytes)
        try:
            result = await inference.classify_photo(data, record, explain=explain)
        except UnsupportedPhoto as error:
            raise with_advice(error, request) from error
        answer = prediction_response(result, model_version, record.elapsed_ms())
        return JSONResponse(add_explanation(answer, result)) if explain else answer

    @app.post("/predict/batch", response_model=list[PredictionResponse | ErrorResponse], **PREDICT_BATCH)
    async def predict_batch(request: Request) -> list[PredictionResponse | ErrorResponse] | Response:
        record: RequestRecord = request.state.record
        explain = is_explanation_requested(request, inference.classifier)
        photos = await read_photos(request, settings.max_image_bytes, settings.max_batch)
        results = await inference.classify_photos(photos, record, explain=explain)
        share_ms = record.elapsed_ms() / len(photos)
        answers = [
            error_of(result, record.request_id)
            if isinstance(result, RequestError)
            else prediction_response(result, model_version, share_ms)
            for result in results
        ]
        if not explain:
            return answers
        return JSONResponse([add_explanation(*pair) for pair in zip(answers, results, strict=True)])


def prediction_response(result: PredictionRecord, model_version: str, elapsed_ms: float) -> PredictionResponse:
    return PredictionResponse(
        **vars(result.prediction),
        model_version=model_version,
        request_id=result.request_id,
        processing_time_ms=round(elapsed_ms, 3),
    )


def is_explanation_requested(request: Request, classifier: Classifier) -> bool:
    """Return whether the query has `explain=1`. Raise `BadField` for another value, or `NoExplanation`."""
    if not request.scope["query_string"] or (value := request.query_params.get("explain")) is None:
        return False
    if value not in EXPLAIN_PARAMETER["schema"]["enum"]:
        raise BadField(f"explain is {value!r:.80}; expected 1 or 0")
    if value == "0":
        return False
    if not classifier.has_activation_map:
        raise NoExplanation(
            f"the file of model {classifier.metadata.model_version} has no output `activation_map`; send the request "
            "without explain=1, or serve a file that has it (export/README.md, section Activation map)"
        )
    return True


def add_explanation(
    answer: PredictionResponse | ErrorResponse, result: PredictionRecord | RequestError
) -> dict[str, Any]:
    """Return the JSON of an answer, with the explanation of its prediction. An error has none."""
    from lambda_app.explanation import explain  # noqa: PLC0415  # not needed at a cold start

    if isinstance(result, RequestError) or result.outputs.activation_map is None or result.upright_size is None:
        return answer.model_dump()
    explanation = explain(result.outputs.activation_map[0], result.upright_size)
    return answer.model_dump() | {"explanation": explanation.model_dump()}


def error_of(error: RequestError, request_id: str) -> ErrorResponse:
    """Return the error with the id of the whole request, whose log line counts it."""
    return ErrorResponse(error=ErrorDetail(code=error.code, message=str(error), request_id=request_id))
