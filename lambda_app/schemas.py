"""Define the JSON of requests and responses; OpenAPI shows these models."""

from typing import Any
from uuid import UUID

from pydantic import BaseModel, Field


class ApiInformation(BaseModel):
    name: str = Field(description="name of the API")
    model_version: str = Field(description="version of the model that serves")
    routes: dict[str, str] = Field(description="summary of each route")


class Health(BaseModel):
    status: str = Field(description="always `healthy`: an instance without a model does not start")
    model_loaded: bool = Field(description="always true: the start loads the model or fails")
    model_version: str = Field(description="version of the loaded model")
    device: str = Field(description="always `cpu`")


class PredictionResponse(BaseModel):
    predicted_class: str = Field(description="the most probable class")
    predicted_label: int = Field(description="index of the class in `class_names` of `/model/info`")
    confidence: float = Field(ge=0, le=1, description="calibrated probability of the predicted class")
    probabilities: dict[str, float] = Field(description="probability of each class; they sum to 1")
    unknown: bool = Field(
        description="true if the familiarity of the photo is below the threshold: it probably shows none of the classes"
    )
    model_version: str = Field(description="version of the model that made the prediction")
    request_id: str = Field(description="identifies this prediction, for feedback and support")
    processing_time_ms: float = Field(
        ge=0, description="milliseconds from request to response; for a batch, divided by its number of photos"
    )


class Feedback(BaseModel):
    request_id: UUID = Field(description="`request_id` of the prediction")
    label: str = Field(description="the true class: one of `class_names` of `/model/info`")


class FeedbackResponse(BaseModel):
    request_id: str = Field(description="`request_id` of the prediction, in canonical form")
    label: str = Field(description="the label that was sent")
    model_version: str = Field(description="version of the serving model")


class ContributionResponse(FeedbackResponse):
    contribution: str = Field(description="SHA-256 of the stored photo, which names its object or file")


class LoggedPrediction(BaseModel):
    timestamp: str = Field(description="time of the prediction, RFC 3339 in UTC")
    predicted_class: str = Field(description="the most probable class")
    confidence: float = Field(description="calibrated probability of the predicted class")
    unknown: bool = Field(
        description="true if the familiarity of the photo is below the threshold: it probably shows none of the classes"
    )
    latency_ms: float = Field(
        description="milliseconds from request to response; for a batch, divided by its number of photos"
    )


class PredictionLog(BaseModel):
    count: int = Field(description="number of predictions below, at most 100")
    class_distribution: dict[str, int] = Field(description="number of predictions of each class")
    average_confidence: float | None = Field(description="mean confidence; null without predictions")
    average_latency_ms: float | None = Field(description="mean latency; null without predictions")
    p95_latency_ms: float | None = Field(description="95th percentile of latency; null without predictions")
    predictions: list[LoggedPrediction] = Field(description="predictions, newest first")


class ModelInformation(BaseModel):
    model_version: str = Field(description="date of the release and the first digits of the run id")
    software_version: str = Field(description="version of the serving software")
    architecture: str = Field(description="name of the network")
    parameters: int = Field(description="number of weights")
    class_names: list[str] = Field(description="classes in the order of `predicted_label`")
    image_size: int = Field(description="side of the network's square input, in pixels")
    temperature: float = Field(description="divisor of the logits that calibrates the confidence")
    unknown_threshold: float = Field(description="photos with a lower familiarity are reported as unknown")
    run_id: str = Field(description="MLflow run that trained the model")
    git_commit: str = Field(description="Git commit of the training code")
    data_hash: str = Field(description="SHA-256 of the manifest of training photos")
    metrics: dict[str, dict[str, Any]] = Field(
        description="metrics of the PyTorch network, before quantization, by evaluation set"
    )
    image: str = Field(description="container image that serves, with its digest; empty outside a deployment")
    commit: str = Field(description="Git commit that the image was built from; empty outside an image")


class ErrorDetail(BaseModel):
    code: str = Field(description="stable code for programs")
    message: str = Field(description="what is wrong with which value, and what was expected")
    request_id: str = Field(description="identifies the request in the log")


class ErrorResponse(BaseModel):
    error: ErrorDetail = Field(description="the error")
