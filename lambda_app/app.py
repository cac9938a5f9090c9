"""Build the FastAPI application from a classifier and settings."""

from http import HTTPStatus

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.responses import PlainTextResponse
from starlette.routing import Match

from lambda_app import __version__
from lambda_app.classifier import Classifier
from lambda_app.errors import BadField, Overloaded, RequestError
from lambda_app.inference import Inference
from lambda_app.metadata import Metadata
from lambda_app.routes.feedback import read_feedback
from lambda_app.routes.open_inference.endpoints import add_open_inference_routes
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
    """Return the application; tests pass a tiny classifier."""
    metadata = classifier.metadata
    telemetry = Telemetry(metadata.model_version, settings)
    app = FastAPI(
        title=NAME,
        version=metadata.model_version,
        openapi_url=None,  # FastAPI's own /docs loads scripts from a CDN
        redirect_slashes=False,
        generate_unique_id_function=lambda route: route.name,
    )
    app.state.telemetry = telemetry
    app.add_middleware(UploadLimiter, max_bytes=settings.max_image_bytes)
    app.add_middleware(TelemetryMiddleware, telemetry=telemetry)
    inference = Inference(classifier, settings.max_image_pixels)
    _add_error_handlers(app)
    add_page(app, inference, settings)
    add_photo_routes(app, inference, settings)
    add_feedback_route(app, metadata)
    add_instance_routes(app, telemetry, settings, metadata)
    add_open_inference_routes(app, inference, settings)
    add_docs(app, metadata.class_names, settings.max_batch)
    _accept_head(app)
    return app


def add_feedback_route(app: FastAPI, metadata: Metadata) -> None:
    @app.post(
        "/feedback",
        **describe(
            "Feedback",
            "Report the true class of a photo: request_id of its prediction, and label",
            "Only `application/json` is accepted: pages of other sites can send anything else without a preflight "
            "request. Repeating a request is harmless: the last label counts. The monitoring report checks whether the "
            "prediction exists.",
            errors=BODY_ERRORS,
            body=FEEDBACK_BODY,
        ),
    )
    async def feedback(request: Request) -> FeedbackResponse:
        record: Record = request.state.record
        body = await read_feedback(request, metadata.class_names)
        record.feedback = {"feedback_for": str(body.request_id), "label": body.label}
        return FeedbackResponse(request_id=str(body.request_id), label=body.label, model_version=metadata.model_version)


def add_instance_routes(app: FastAPI, telemetry: Telemetry, settings: Settings, metadata: Metadata) -> None:
    """Add the routes that describe the instance, without those that `PUBLIC_ROUTES` omits."""

    @app.get(
        "/health",
        **describe(
            "Instance", "Health and model version of the instance", "An instance that responds has loaded its model."
        ),
    )
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

    if is_served("/model/info", settings):
        described = describe(
            "Instance",
            "Metadata of the model, and the versions of software and image",
            "Returns the classes, training run, commit, data hash and test metrics that the model file contains.",
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
    """Return whether `PUBLIC_ROUTES` enables the route."""
    return path not in OPTIONAL_ROUTES or path in settings.public_routes.split(",")


def _accept_head(app: FastAPI) -> None:
    """Accept HEAD on every GET route: Starlette's routes do, FastAPI's do not."""
    app.add_middleware(HeadMiddleware)
    for route in app.routes:
        if isinstance(route, APIRoute) and route.methods and "GET" in route.methods:
            route.methods.add("HEAD")


def _add_error_handlers(app: FastAPI) -> None:
    """Answer every error with the JSON of `ErrorResponse`."""

    @app.exception_handler(RequestError)
    async def bad_request(request: Request, error: RequestError) -> Response:
        response = error_response(request.state.record, error.status, error.code, str(error))
        if isinstance(error, Overloaded):
            response.headers["retry-after"] = str(RETRY_AFTER_S)
        return response

    @app.exception_handler(HTTPException)
    async def no_route(request: Request, error: HTTPException) -> Response:
        code = HTTPStatus(error.status_code).phrase.lower().replace(" ", "_")
        message = f"{request.method} {request.url.path} is no route; expected one of {', '.join(list_routes(app))}"
        response = error_response(request.state.record, error.status_code, code, message)
        if methods := _allowed_methods(
            request
        ):  # FastAPI's 405 lists the methods of the first route with the path only
            response.headers["allow"] = ", ".join(sorted(methods))
        return response

    @app.exception_handler(RequestValidationError)
    async def bad_field(request: Request, error: RequestValidationError) -> Response:
        problems = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        return error_response(request.state.record, BadField.status, BadField.code, problems)


def _allowed_methods(request: Request) -> set[str]:
    """Return the methods of all routes with the path of the request."""
    candidates = [route for route in request.app.routes if route.matches(request.scope)[0] != Match.NONE]
    return set().union(*(route.methods for route in candidates if route.path == candidates[0].path))
