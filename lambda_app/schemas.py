"""The JSON of every answer, as OpenAPI shows it."""

from typing import Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field


class Schema(BaseModel):
    model_config = ConfigDict(protected_namespaces=())  # `model_version` is the field's own name


class ApiInformation(Schema):
    name: str
    model_version: str
    routes: dict[str, str] = Field(description="each route and what it answers")


class Health(Schema):
    status: str
    model_loaded: bool
    model_version: str
    device: str


class PredictionResponse(Schema):
    predicted_class: str
    predicted_label: int = Field(description="index of the class in /model/info's class_names")
    confidence: float = Field(ge=0, le=1, description="calibrated probability of the predicted class")
    probabilities: dict[str, float] = Field(description="of every class; they sum to 1")
    unknown: bool = Field(description="none of the classes was recognised in the photo")
    model_version: str
    request_id: str
    processing_time_ms: float = Field(ge=0)


class Feedback(Schema):
    model_config = ConfigDict(
        json_schema_extra={"examples": [{"request_id": "95aded33-aefe-409e-a8f5-bb084fc15cef", "label": "cat"}]}
    )

    request_id: UUID = Field(description="of the prediction, as its answer gave it")
    label: str = Field(description="what the photo really shows: one of /model/info's class_names")


class FeedbackResponse(Schema):
    request_id: str
    label: str
    model_version: str


class LoggedPrediction(Schema):
    timestamp: str = Field(description="RFC 3339, UTC")
    predicted_class: str
    confidence: float
    unknown: bool
    latency_ms: float


class PredictionLog(Schema):
    count: int
    class_distribution: dict[str, int] = Field(description="predictions of each class")
    average_confidence: float | None = Field(description="null without predictions, as the two below")
    average_latency_ms: float | None
    p95_latency_ms: float | None
    predictions: list[LoggedPrediction] = Field(description="newest first")


class ModelInformation(Schema):
    model_version: str
    architecture: str
    parameters: int
    class_names: list[str]
    image_size: int = Field(description="pixels; side of the square that the network sees")
    temperature: float
    unknown_threshold: float
    run_id: str = Field(description="MLflow run that trained it")
    git_commit: str = Field(description="of the code that trained it")
    data_hash: str = Field(description="SHA-256 of the manifest of training photos")
    metrics: dict[str, dict[str, Any]] = Field(description="of each set that it was evaluated on")
    image: str = Field(description="the container image that answers, by digest; empty where nothing was deployed")
    commit: str = Field(description="the Git commit that the image was built from; likewise")


class ErrorDetail(Schema):
    code: str
    message: str
    request_id: str


class ErrorResponse(Schema):
    error: ErrorDetail
