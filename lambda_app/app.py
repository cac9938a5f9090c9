"""The HTTP interface. `create_app` takes its collaborators, so a test gives it a tiny model."""

from collections.abc import Iterable
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
    ApiInformation,
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
from lambda_app.web.page import add_page

NAME = "Pet Classifier"
ROUTES = {
    "GET /": "the page, for browsers; else this list",
    "POST /": "the page with the class of a photo, for browsers without JavaScript",
    "GET /health": "whether the model is loaded, and which",
    "POST /predict": "the class of one photo: the raw body, the multipart file 'file', or base64 in JSON",
    "POST /predict/batch": "the classes of several photos: multipart files named 'file'",
    "POST /feedback": "takes what a photo really showed: request_id of its prediction, and label",
    "GET /model/info": "what the model file says about itself, and which image answers",
    "GET /metrics": "Prometheus figures of this instance",
    "GET /prediction-log": "the last 100 predictions of this instance",
    "GET /v2": "Open Inference Protocol (KServe, Triton): the server and its version",
    "GET /v2/health/live": "Open Inference Protocol: whether the server runs",
    "GET /v2/health/ready": "Open Inference Protocol: whether the server answers",
    "GET /v2/models/{name}": "Open Inference Protocol: a model's version, inputs and outputs",
    "GET /v2/models/{name}/ready": "Open Inference Protocol: whether the model answers",
    "POST /v2/models/{name}/infer": "Open Inference Protocol: photos, or the network's own input, to predictions",
    "GET /docs": "this API, for people",
    "GET /openapi.json": "this API, for programs",
}


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
    routes = {name: summary for name, summary in ROUTES.items() if is_served(name.split()[1], settings)}
    _answer_errors_as_json(app, routes)
    information = ApiInformation(name=NAME, model_version=metadata.model_version, routes=routes)
    add_photo_routes(app, inference, settings)
    add_page(app, inference, settings, information)
    add_kserve_routes(app, inference, settings)
    add_docs(app, routes, metadata.class_names, settings.max_batch)

    add_instance_routes(app, telemetry, settings, metadata)

    @app.post("/feedback")
    async def feedback(request: Request) -> FeedbackResponse:
        record: Record = request.state.record
        given = await read_feedback(request, metadata.class_names)
        record.feedback = {"feedback_for": str(given.request_id), "label": given.label}
        return FeedbackResponse(
            request_id=str(given.request_id), label=given.label, model_version=metadata.model_version
        )

    _answer_head(app)
    return app


def add_instance_routes(app: FastAPI, telemetry: Telemetry, settings: Settings, metadata: Metadata) -> None:
    """Add the routes that describe the instance; those that `PUBLIC_ROUTES` leaves out do not exist."""

    @app.get("/health")
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
        app.get("/model/info")(model_info)
    if is_served("/metrics", settings):
        app.get("/metrics", response_class=PlainTextResponse)(metrics)
    if is_served("/prediction-log", settings):
        app.get("/prediction-log")(last_predictions)


def is_served(path: str, settings: Settings) -> bool:
    """Tell whether the settings leave this route on."""
    return path not in OPTIONAL_ROUTES or path in settings.public_routes.split(",")


def _answer_head(app: FastAPI) -> None:
    """Let every route that takes GET take HEAD, as Starlette's own routes do and FastAPI's do not."""
    app.add_middleware(HeadMiddleware)
    for route in app.routes:
        if isinstance(route, APIRoute) and route.methods and "GET" in route.methods:
            route.methods.add("HEAD")


def _answer_errors_as_json(app: FastAPI, routes: Iterable[str]) -> None:
    @app.exception_handler(RequestError)
    async def bad_request(request: Request, error: RequestError) -> Response:
        response = error_response(request.state.record, error.status, error.code, str(error))
        if isinstance(error, Overloaded):
            response.headers["retry-after"] = str(RETRY_AFTER_S)
        return response

    @app.exception_handler(HTTPException)
    async def no_route(request: Request, error: HTTPException) -> Response:
        code = HTTPStatus(error.status_code).phrase.lower().replace(" ", "_")
        message = f"{request.method} {request.url.path} is not here; expected one of {', '.join(routes)}"
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
