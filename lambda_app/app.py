"""The HTTP interface. `create_app` takes its collaborators, so a test gives it a tiny model."""

from http import HTTPStatus

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.responses import PlainTextResponse
from starlette.routing import Match

from lambda_app.classifier import Classifier
from lambda_app.errors import BadField, Overloaded, RequestError
from lambda_app.inference import Inference
from lambda_app.metadata import Metadata
from lambda_app.routes.feedback import read_feedback
from lambda_app.routes.open_inference.endpoints import add_kserve_routes
from lambda_app.routes.predict import add_photo_routes
from lambda_app.schemas import (
    FeedbackResponse,
    Health,
    ModelInformation,
    PredictionLog,
)
from lambda_app.settings import OPTIONAL_ROUTES, Settings
from lambda_app.telemetry.middleware import HeadMiddleware, TelemetryMiddleware, error_response
from lambda_app.telemetry.prediction_log import summarize_predictions
from lambda_app.telemetry.request_log import Record, Telemetry
from lambda_app.uploads.backpressure import RETRY_AFTER_S, UploadLimiter
from lambda_app.web.docs import add_docs
from lambda_app.web.openapi import BODY_ERRORS, FEEDBACK_BODY, describe, list_routes
from lambda_app.web.page import add_page

NAME = "Pet Classifier"


def create_app(classifier: Classifier, settings: Settings) -> FastAPI:
    metadata = classifier.metadata
    telemetry = Telemetry(metadata.model_version, settings)
    app = FastAPI(
        title=NAME,
        version=metadata.model_version,
        openapi_url=None,  # its own /docs would load scripts from another site
        redirect_slashes=False,
        generate_unique_id_function=lambda route: route.name,
    )
    app.state.telemetry = telemetry
    app.add_middleware(UploadLimiter, max_bytes=settings.max_image_bytes)
    app.add_middleware(TelemetryMiddleware, telemetry=telemetry)
    inference = Inference(classifier, settings.max_image_pixels)
    _answer_errors_as_json(app)
    add_page(app, inference, settings)
    add_photo_routes(app, inference, settings)
    add_feedback_route(app, metadata)
    add_instance_routes(app, telemetry, settings, metadata)
    add_kserve_routes(app, inference, settings)
    add_docs(app, metadata.class_names, settings.max_batch)
    _answer_head(app)
    return app


def add_feedback_route(app: FastAPI, metadata: Metadata) -> None:
    @app.post(
        "/feedback",
        **describe(
            "Feedback",
            "Report what a photo really shows: the request_id of its prediction, and the label",
            "Only `application/json` is accepted: pages of other sites can send anything else without a preflight "
            "request. Repeating a request is harmless: the last label counts. The monitoring report checks whether the "
            "prediction exists.",
            errors=BODY_ERRORS,
            body=FEEDBACK_BODY,
        ),
    )
    async def feedback(request: Request) -> FeedbackResponse:
        record: Record = request.state.record
        given = await read_feedback(request, metadata.class_names)
        record.feedback = {"feedback_for": str(given.request_id), "label": given.label}
        return FeedbackResponse(
            request_id=str(given.request_id), label=given.label, model_version=metadata.model_version
        )


def add_instance_routes(app: FastAPI, telemetry: Telemetry, settings: Settings, metadata: Metadata) -> None:
    """Add the routes that describe the instance; those that `PUBLIC_ROUTES` leaves out do not exist."""

    @app.get(
        "/health",
        **describe(
            "Instance", "Whether the model is loaded, and which", "An instance that responds has loaded its model."
        ),
    )
    async def health(request: Request) -> Health:
        telemetry.instance_metrics.health_checks += request.method == "GET"
        return Health(status="healthy", model_loaded=True, model_version=metadata.model_version, device="cpu")

    async def model_info() -> ModelInformation:
        return ModelInformation(**vars(metadata), image=settings.image, commit=settings.commit)

    async def metrics() -> PlainTextResponse:
        text, media_type = telemetry.instance_metrics.render()
        return PlainTextResponse(text, media_type=media_type)

    async def last_predictions() -> PredictionLog:
        return summarize_predictions(telemetry.recent)

    if is_served("/model/info", settings):
        described = describe(
            "Instance",
            "The metadata of the model file, and the image that responds",
            "Classes, training run, commit, data and test metrics, as training wrote them into the file.",
        )
        app.get("/model/info", **described)(model_info)
    if is_served("/metrics", settings):
        described = describe(
            "Instance",
            "Prometheus metrics of this instance",
            "`prediction_requests_total{predicted_class}`, `prediction_unknown_total`, "
            "`prediction_errors_total{code}`, `prediction_latency_seconds`, "
            "`feedback_total{label}` of this instance's last 10,000 predictions, "
            "`feedback_unmatched_total{label}` of all others, `health_check_requests_total`, "
            "`model_info{model_version}`.",
        )
        app.get("/metrics", response_class=PlainTextResponse, **described)(metrics)
    if is_served("/prediction-log", settings):
        described = describe(
            "Instance",
            "The last 100 predictions of this instance",
            "With the number of each class, the average confidence, and average and p95 latency. It contains neither "
            "photos nor request ids.",
        )
        app.get("/prediction-log", **described)(last_predictions)


def is_served(path: str, settings: Settings) -> bool:
    """Tell whether the settings leave this route on."""
    return path not in OPTIONAL_ROUTES or path in settings.public_routes.split(",")


def _answer_head(app: FastAPI) -> None:
    """Let every route that takes GET take HEAD, as Starlette's own routes do and FastAPI's do not."""
    app.add_middleware(HeadMiddleware)
    for route in app.routes:
        if isinstance(route, APIRoute) and route.methods and "GET" in route.methods:
            route.methods.add("HEAD")


def _answer_errors_as_json(app: FastAPI) -> None:
    @app.exception_handler(RequestError)
    async def bad_request(request: Request, error: RequestError) -> Response:
        response = error_response(request.state.record, error.status, error.code, str(error))
        if isinstance(error, Overloaded):
            response.headers["retry-after"] = str(RETRY_AFTER_S)
        return response

    @app.exception_handler(HTTPException)
    async def no_route(request: Request, error: HTTPException) -> Response:
        code = HTTPStatus(error.status_code).phrase.lower().replace(" ", "_")
        message = f"{request.method} {request.url.path} is not here; expected one of {', '.join(list_routes(app))}"
        response = error_response(request.state.record, error.status_code, code, message)
        if methods := _methods(request):  # the framework's 405 names those of the first route of the path alone
            response.headers["allow"] = ", ".join(sorted(methods))
        return response

    @app.exception_handler(RequestValidationError)
    async def bad_field(request: Request, error: RequestValidationError) -> Response:
        problems = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        return error_response(request.state.record, BadField.status, BadField.code, problems)


def _methods(request: Request) -> set[str]:
    """Of every route that has the path."""
    leading = [route for route in request.app.routes if route.matches(request.scope)[0] != Match.NONE]
    return set().union(*(route.methods for route in leading if route.path == leading[0].path))
