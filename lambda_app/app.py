"""The HTTP interface. `create_app` takes its collaborators, so a test gives it a tiny model."""

from http import HTTPStatus

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from lambda_app.classifier import Classifier
from lambda_app.errors import BadField, RequestError
from lambda_app.feedback import read_feedback
from lambda_app.inference import Inference
from lambda_app.middleware import TelemetryMiddleware, error_response
from lambda_app.openapi import FEEDBACK_BODY, FEEDBACK_ERRORS
from lambda_app.photos import add_photo_routes
from lambda_app.recent import prediction_log
from lambda_app.schemas import (
    ApiInformation,
    FeedbackResponse,
    Health,
    ModelInformation,
    PredictionLog,
)
from lambda_app.settings import Settings
from lambda_app.telemetry import Record, Telemetry

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


def create_app(classifier: Classifier, settings: Settings) -> FastAPI:
    metadata = classifier.metadata
    telemetry = Telemetry(metadata.model_version, settings)
    app = FastAPI(title=NAME, version=metadata.model_version, redoc_url=None, redirect_slashes=False)
    app.add_middleware(TelemetryMiddleware, telemetry=telemetry)
    _answer_errors_as_json(app)
    add_photo_routes(app, Inference(classifier, settings.max_image_pixels), settings)

    @app.get("/")
    async def api_information() -> ApiInformation:
        return ApiInformation(name=NAME, model_version=metadata.model_version, routes=ROUTES)

    @app.get("/health")
    async def health() -> Health:
        telemetry.figures.health_checks += 1
        return Health(status="healthy", model_loaded=True, model_version=metadata.model_version, device="cpu")

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
