"""Define the messages and fields of the lines `request`, `prediction` and `feedback`, and the names of the metrics.

The report, the saved queries, the dashboard and the alarms read these names. `lambda_app.prediction_record` and
`lambda_app.signals` define the fields of a prediction. The logger adds `level`, `message`, `timestamp` and `service`.
"""

from typing import Literal, NotRequired, TypedDict

# Messages of the log lines: one `request` per request, one `prediction` per photo of a batch, one `feedback`.
REQUEST, PREDICTION, FEEDBACK = "request", "prediction", "feedback"

SYNTHETIC_HEADER = ("x-synthetic", "true")  # marks requests of smoke tests and replays, which the report excludes

# Metrics in the embedded metric format, and their namespace.
NAMESPACE = "PetClassifier"
COLD_START = "ColdStart"
ERRORS = "Errors"
INFERENCE_LATENCY = "InferenceLatency"
FEEDBACK_COUNT = "Feedback"
CONTRIBUTIONS = "Contributions"
FAILED_PHOTOS = "FailedPhotos"
PREDICTIONS = "Predictions"  # by class
UNKNOWN = "Unknown"  # by class


class CommonFields(TypedDict):
    """Fields of each line `request`, `prediction` and `feedback`."""

    request_id: str
    model_version: str
    synthetic: NotRequired[Literal[True]]  # a smoke test or a replay sent the request


class RequestFields(TypedDict):
    """Further fields of a line `request`. The line of a single photo also holds the fields of its prediction."""

    method: str | None  # None for a method that HTTP does not define
    route: str | None  # the route's pattern; the raw path may contain anything
    status: int
    cold_start: bool
    total_ms: float
    error_code: NotRequired[str]
    photos: NotRequired[int]  # number of photos in a batch
    failed: NotRequired[dict[str, int]]  # failed photos of a batch by error code
    storage_error: NotRequired[str]  # why a contributed photo was not stored: error code of S3 or of the system


class BatchPredictionFields(TypedDict):
    """The field that a line `prediction` has in addition to those of the prediction.

    Its `request_id` identifies the prediction of one photo, not the request.
    """

    batch_id: str  # the `request_id` of the batch's line


class FeedbackFields(TypedDict):
    """Further fields of a line `feedback`."""

    feedback_for: str  # the `request_id` of the prediction
    label: str  # the true class
    contribution: NotRequired[str]  # the SHA-256 of the stored photo, if the sender contributed it
