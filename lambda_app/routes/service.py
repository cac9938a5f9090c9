"""Routes that describe the instance: health, model, metrics, and the last predictions."""

from fastapi import FastAPI, Request
from starlette.responses import PlainTextResponse

from lambda_app import __version__
from lambda_app.metadata import Metadata
from lambda_app.schemas import Health, ModelInformation, PredictionLog
from lambda_app.settings import Settings
from lambda_app.telemetry.prediction_log import summarize_predictions
from lambda_app.telemetry.request_log import Telemetry
from lambda_app.web.openapi import describe

HEALTH = describe(
    "Instance", "Health and model version of the instance", "An instance that responds has loaded its model."
)
MODEL_INFO = describe(
    "Instance",
    "Metadata of the model, and the versions of software and image",
    "Returns the metadata that the model file contains: classes, training run, commit, data hash, and the test metrics "
    "of the PyTorch network, before quantization.",
)
METRICS = describe(
    "Instance",
    "Prometheus metrics of this instance",
    "Returns `prediction_requests_total{predicted_class}`, `prediction_unknown_total`, "
    "`prediction_errors_total{code}`, `prediction_latency_seconds`, "
    "`feedback_total{label}`, `feedback_unmatched_total{label}`, `contributions_total{label}`, "
    "`health_check_requests_total` and "
    "`model_info{model_version}`. `feedback_total` counts feedback on this instance's last 10,000 predictions, "
    "`feedback_unmatched_total` all other feedback.",
)
PREDICTION_LOG = describe(
    "Instance",
    "The last 100 predictions of this instance",
    "Returns the last predictions, the count of each class, the average confidence, and average and p95 latency. "
    "Contains neither photos nor request IDs.",
)


def add_instance_routes(app: FastAPI, telemetry: Telemetry, settings: Settings, metadata: Metadata) -> None:
    """Add the routes that describe the instance, without those that `PUBLIC_ROUTES` omits."""

    @app.get("/health", **HEALTH)
    async def health(request: Request) -> Health:
        telemetry.instance_metrics.health_checks += request.method == "GET"
        return Health(status="healthy", model_loaded=True, model_version=metadata.model_version, device="cpu")

    async def model_info() -> ModelInformation:
        return ModelInformation(
            **vars(metadata), software_version=__version__, image=settings.image, commit=settings.commit
        )

    async def metrics() -> PlainTextResponse:
        text, media_type = telemetry.instance_metrics.render()
        return PlainTextResponse(text, media_type=media_type)

    async def last_predictions() -> PredictionLog:
        return summarize_predictions(telemetry.recent)

    public = settings.public_routes.split(",")
    if "/model/info" in public:
        app.get("/model/info", **MODEL_INFO)(model_info)
    if "/metrics" in public:
        app.get("/metrics", response_class=PlainTextResponse, **METRICS)(metrics)
    if "/prediction-log" in public:
        app.get("/prediction-log", **PREDICTION_LOG)(last_predictions)
