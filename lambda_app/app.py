"""The HTTP interface. `create_app` takes its collaborators, so a test gives it a tiny model."""

import asyncio
import os
import time
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from lambda_app.classifier import Classifier, Prediction
from lambda_app.errors import BadField, RequestError
from lambda_app.feedback import read_feedback
from lambda_app.preprocess import Photo, preprocess
from lambda_app.recent import prediction_log
from lambda_app.schemas import (
    ApiInformation,
    ErrorResponse,
    Feedback,
    FeedbackResponse,
    Health,
    ModelInformation,
    PredictionLog,
    PredictionResponse,
)
from lambda_app.settings import Settings
from lambda_app.signals import signals
from lambda_app.telemetry import Record, Telemetry, TelemetryMiddleware, error_response
from lambda_app.upload import read_photo

NAME = "Pet Classifier"
ROUTES = {
    "GET /health": "whether the model is loaded",
    "POST /predict": "the class of a photo: the raw body (image/*) or the multipart file 'file'",
    "POST /feedback": "what a photo really showed: request_id of the prediction and label",
    "GET /model/info": "what the model file says about itself, and which image answers",
    "GET /metrics": "Prometheus figures of this instance",
    "GET /prediction-log": "the last 100 predictions of this instance",
    "GET /docs": "OpenAPI",
}
PHOTO_BODY = {
    "required": True,
    "content": {
        "image/*": {"schema": {"type": "string", "format": "binary"}},
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "required": ["file"],
                "properties": {"file": {"type": "string", "format": "binary"}},
            }
        },
    },
}
PHOTO_ERRORS: dict[int | str, dict[str, Any]] = {
    400: {"model": ErrorResponse, "description": "no photo, or a form that cannot be read"},
    413: {"model": ErrorResponse, "description": "too many bytes or pixels"},
    415: {"model": ErrorResponse, "description": "not an image that can be read"},
    422: {"model": ErrorResponse, "description": "a damaged image"},
    500: {"model": ErrorResponse, "description": "an unexpected error"},
}

FEEDBACK_BODY = {"required": True, "content": {"application/json": {"schema": Feedback.model_json_schema()}}}
FEEDBACK_ERRORS: dict[int | str, dict[str, Any]] = {
    422: {"model": ErrorResponse, "description": "a malformed request_id, or a label that is no class"},
    500: PHOTO_ERRORS[500],
}


def create_app(classifier: Classifier, settings: Settings) -> FastAPI:
    metadata = classifier.metadata
    telemetry = Telemetry(metadata.model_version, settings)
    # Threads, so that a container behind uvicorn uses all its cores (Pillow and ONNX Runtime release the GIL), and no
    # more of them: each may hold a decoded photo. Not AnyIO's: the first request would import its back end, 11 ms.
    threads = ThreadPoolExecutor(os.cpu_count() or 1)
    app = FastAPI(title=NAME, version=metadata.model_version, redoc_url=None, redirect_slashes=False)
    app.add_middleware(TelemetryMiddleware, telemetry=telemetry)
    _answer_errors_as_json(app)

    @app.get("/")
    async def api_information() -> ApiInformation:
        return ApiInformation(name=NAME, model_version=metadata.model_version, routes=ROUTES)

    @app.get("/health")
    async def health() -> Health:
        telemetry.figures.health_checks += 1
        return Health(status="healthy", model_loaded=True, model_version=metadata.model_version, device="cpu")

    @app.post("/predict", openapi_extra={"requestBody": PHOTO_BODY}, responses=PHOTO_ERRORS)
    async def predict(request: Request) -> PredictionResponse:
        record: Record = request.state.record
        data = await read_photo(request, settings.max_image_bytes)
        prediction = await asyncio.get_running_loop().run_in_executor(
            threads, _classify, classifier, data, settings.max_image_pixels, record
        )
        return PredictionResponse(
            predicted_class=prediction.predicted_class,
            predicted_label=prediction.label,
            confidence=prediction.confidence,
            probabilities=prediction.probabilities,
            unknown=prediction.unknown,
            model_version=metadata.model_version,
            request_id=record.request_id,
            processing_time_ms=round(record.elapsed_ms(), 3),
        )

    @app.post("/feedback", openapi_extra={"requestBody": FEEDBACK_BODY}, responses=FEEDBACK_ERRORS)
    async def feedback(request: Request) -> FeedbackResponse:
        record: Record = request.state.record
        given = await read_feedback(request, metadata.class_names)
        record.feedback = {"feedback_for": str(given.request_id), "label": given.label}
        return FeedbackResponse(
            request_id=str(given.request_id), label=given.label, model_version=metadata.model_version
        )

    @app.get("/model/info")
    async def model_info() -> ModelInformation:
        return ModelInformation(**vars(metadata), image=settings.image, commit=settings.commit)

    @app.get("/metrics", response_class=Response)
    async def metrics() -> Response:
        text, media_type = telemetry.figures.exposition()
        return Response(text, media_type=media_type)

    @app.get("/prediction-log")
    async def last_predictions() -> PredictionLog:
        return prediction_log(telemetry.recent)

    return app


def _classify(classifier: Classifier, data: bytes, max_pixels: int, record: Record) -> Prediction:
    began = time.perf_counter()
    photo = preprocess(data, classifier.metadata.image_size, max_pixels)
    decoded = time.perf_counter()
    outputs = classifier.run(photo.pixels[None])
    prediction = classifier.decide(outputs)
    inferred = time.perf_counter()
    times = {
        "decode_ms": round((decoded - began) * 1000, 3),
        "inference_ms": round((inferred - decoded) * 1000, 3),
    }
    record.prediction = _log_fields(photo, len(data), prediction) | times | signals(photo.pixels, outputs)
    return prediction


def _log_fields(photo: Photo, size: int, prediction: Prediction) -> dict[str, Any]:
    return {
        "predicted_class": prediction.predicted_class,
        "confidence": round(prediction.confidence, 6),
        "unknown": prediction.unknown,
        "photo_format": photo.format,
        "photo_bytes": size,
        "photo_width": photo.width,
        "photo_height": photo.height,
    }


def _answer_errors_as_json(app: FastAPI) -> None:
    @app.exception_handler(RequestError)
    async def bad_request(request: Request, error: RequestError) -> Response:
        return error_response(request.state.record, error.status, error.code, str(error))

    @app.exception_handler(HTTPException)
    async def no_route(request: Request, error: HTTPException) -> Response:
        code = HTTPStatus(error.status_code).phrase.lower().replace(" ", "_")
        message = f"{request.method} {request.url.path} is not here; expected one of {', '.join(ROUTES)}"
        response = error_response(request.state.record, error.status_code, code, message)
        response.headers.update(error.headers or {})
        return response

    @app.exception_handler(RequestValidationError)
    async def bad_field(request: Request, error: RequestValidationError) -> Response:
        problems = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        return error_response(request.state.record, BadField.status, BadField.code, problems)
