"""The JSON of every answer, as OpenAPI shows it."""

from typing import Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field


class Schema(BaseModel):
    model_config = ConfigDict(protected_namespaces=())  # `model_version` is the field's own name


class ApiInformation(Schema):
    name: str = Field(description="of the API")
    model_version: str = Field(description="of the model that answers")
    routes: dict[str, str] = Field(description="each route and what it answers")


class Health(Schema):
    status: str = Field(description="`healthy`, or nothing answers at all")
    model_loaded: bool = Field(description="true: the start loads the model or fails")
    model_version: str = Field(description="of the model that is loaded")
    device: str = Field(description="`cpu`")


class PredictionResponse(Schema):
    predicted_class: str = Field(description="the most probable class")
    predicted_label: int = Field(description="index of the class in /model/info's class_names")
    confidence: float = Field(ge=0, le=1, description="calibrated probability of the predicted class")
    probabilities: dict[str, float] = Field(description="of every class; they sum to 1")
    unknown: bool = Field(description="none of the classes was recognised in the photo")
    model_version: str = Field(description="of the model that answered")
    request_id: str = Field(description="names this prediction, for feedback and for complaints")
    processing_time_ms: float = Field(ge=0, description="from the request's arrival to its answer; of a batch, a share")


class Feedback(Schema):
    request_id: UUID = Field(description="of the prediction, as its answer gave it")
    label: str = Field(description="what the photo really shows: one of /model/info's class_names")


class FeedbackResponse(Schema):
    request_id: str = Field(description="of the prediction, in its usual spelling")
    label: str = Field(description="as it was given")
    model_version: str = Field(description="of the model that answers now")


class LoggedPrediction(Schema):
    timestamp: str = Field(description="RFC 3339, UTC")
    predicted_class: str = Field(description="the most probable class")
    confidence: float = Field(description="its calibrated probability")
    unknown: bool = Field(description="none of the classes was recognised")
    latency_ms: float = Field(description="from the request's arrival to its answer; of a batch, a share")


class PredictionLog(Schema):
    count: int = Field(description="of the predictions below, 100 at most")
    class_distribution: dict[str, int] = Field(description="predictions of each class")
    average_confidence: float | None = Field(description="null without predictions, as the two below")
    average_latency_ms: float | None = Field(description="mean of the predictions below")
    p95_latency_ms: float | None = Field(description="of twenty predictions, nineteen took no longer")
    predictions: list[LoggedPrediction] = Field(description="newest first")


class ModelInformation(Schema):
    model_version: str = Field(description="date of the release and the beginning of the file's hash")
    architecture: str = Field(description="name of the network")
    parameters: int = Field(description="number of its weights")
    class_names: list[str] = Field(description="in the order of `predicted_label`")
    image_size: int = Field(description="pixels; side of the square that the network sees")
    temperature: float = Field(description="divides the logits, so that confidence is how often it is right")
    unknown_threshold: float = Field(description="photos less familiar than this are called unknown")
    run_id: str = Field(description="MLflow run that trained it")
    git_commit: str = Field(description="of the code that trained it")
    data_hash: str = Field(description="SHA-256 of the manifest of training photos")
    metrics: dict[str, dict[str, Any]] = Field(description="of each set that it was evaluated on")
    image: str = Field(description="the container image that answers, by digest; empty where nothing was deployed")
    commit: str = Field(description="the Git commit that the image was built from; likewise")


class ErrorDetail(Schema):
    code: str = Field(description="what clients match on")
    message: str = Field(description="for people: the value that is wrong, and what was expected")
    request_id: str = Field(description="finds the request in the log")


class ErrorResponse(Schema):
    error: ErrorDetail = Field(description="what is wrong")
