"""The routes that take photos."""

from fastapi import FastAPI, Request

from lambda_app.inference import Inference
from lambda_app.openapi import PHOTO_BODY, PHOTO_ERRORS
from lambda_app.schemas import PredictionResponse
from lambda_app.settings import Settings
from lambda_app.telemetry import Record
from lambda_app.upload import read_photo


def add_photo_routes(app: FastAPI, inference: Inference, settings: Settings) -> None:
    @app.post("/predict", openapi_extra={"requestBody": PHOTO_BODY}, responses=PHOTO_ERRORS)
    async def predict(request: Request) -> PredictionResponse:
        record: Record = request.state.record
        data = await read_photo(request, settings.max_image_bytes)
        prediction = await inference.one(data, record)
        return PredictionResponse(
            predicted_class=prediction.predicted_class,
            predicted_label=prediction.label,
            confidence=prediction.confidence,
            probabilities=prediction.probabilities,
            unknown=prediction.unknown,
            model_version=inference.classifier.metadata.model_version,
            request_id=record.request_id,
            processing_time_ms=round(record.elapsed_ms(), 3),
        )
