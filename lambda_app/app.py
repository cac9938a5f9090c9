"""Build the FastAPI application from a classifier and settings."""

from http import HTTPStatus

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.routing import Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lambda_app.classifier import Classifier
from lambda_app.error_responses import error_response, request_error_response
from lambda_app.errors import BadField, RequestError
from lambda_app.inference import Inference
from lambda_app.routes.feedback import add_feedback_route
from lambda_app.routes.open_inference.endpoints import add_open_inference_routes
from lambda_app.routes.predict import add_photo_routes
from lambda_app.routes.service import add_instance_routes
from lambda_app.settings import Settings
from lambda_app.telemetry.middleware import TelemetryMiddleware
from lambda_app.telemetry.request_log import Telemetry
from lambda_app.uploads.backpressure import UploadLimiter
from lambda_app.web.docs import add_docs
from lambda_app.web.openapi import list_routes
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
        telemetry={"tracing": False, "metrics": False, "logs": False},  # OpenTelemetry; `Telemetry` records requests
    )
    app.state.telemetry = telemetry
    app.add_middleware(UploadLimiter, max_bytes=settings.max_image_bytes)
    app.add_middleware(TelemetryMiddleware, telemetry=telemetry)
    inference = Inference(classifier, settings.max_image_pixels)
    _add_error_handlers(app)
    add_page(app, inference, settings)
    add_photo_routes(app, inference, settings)
    add_feedback_route(app, inference, settings)
    add_instance_routes(app, telemetry, settings, metadata)
    add_open_inference_routes(app, inference, settings)
    add_docs(app, metadata.class_names, settings.max_batch)
    _accept_head(app)
    return app


class HeadMiddleware:
    """Pure ASGI middleware that answers HEAD with the status and headers of GET (RFC 9110, section 9.3.2)."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_without_body(message: Message) -> None:
            if message["type"] == "http.response.body":
                message["body"] = b""
            await send(message)

        is_head = scope["type"] == "http" and scope["method"] == "HEAD"
        await self.app(scope, receive, send_without_body if is_head else send)


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
        return request_error_response(request.scope, error)

    @app.exception_handler(HTTPException)
    async def no_route(request: Request, error: HTTPException) -> Response:
        code = HTTPStatus(error.status_code).phrase.lower().replace(" ", "_")
        message = f"{request.method} {request.url.path} is not a route; expected one of {', '.join(list_routes(app))}"
        response = error_response(request.scope, error.status_code, code, message)
        # FastAPI's own 405 lists only the methods of the first route with the path.
        if methods := _allowed_methods(request):
            response.headers["allow"] = ", ".join(sorted(methods))
        return response

    @app.exception_handler(RequestValidationError)
    async def bad_field(request: Request, error: RequestValidationError) -> Response:
        problems = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        return request_error_response(request.scope, BadField(problems))


def _allowed_methods(request: Request) -> set[str]:
    """Return the methods of all routes with the path of the request."""
    candidates = [route for route in request.app.routes if route.matches(request.scope)[0] != Match.NONE]
    return set().union(*(route.methods for route in candidates if route.path == candidates[0].path))
