"""Provide the entry points of Lambda (`handler`) and uvicorn (`lambda_app.handler:app`), built once at import."""
# ruff: noqa: E402  # the order of imports shortens the start

import gc
import logging
import warnings
from typing import Any

# Startup objects are long-lived. Collecting them took 28 ms of a cold start of 400 ms.
gc.disable()

from lambda_app.classifier import Classifier
from lambda_app.settings import Settings

settings = Settings.from_env()
# Load the model before importing FastAPI, so that the import reuses the memory that loading freed: 10 ms and 5 MB less.
classifier = Classifier.load(settings.model_path)

from mangum import Mangum

from lambda_app.app import create_app

app = create_app(classifier, settings)

# At levels below ERROR, these loggers write client data: paths, addresses, bytes of a broken form, the texts of a TIFF.
# Lambda's JSON format would enable INFO or DEBUG for all of them. The request's log line has all that may be logged.
for name in ("mangum", "uvicorn.access", "python_multipart", "PIL"):
    logging.getLogger(name).setLevel(logging.ERROR)

# Pillow's warnings quote values of a damaged file, and Python keeps each text forever in order to show it only once.
warnings.filterwarnings("ignore", module=r"PIL\.")

# Mangum would send lifespan events at every invocation, and the app handles none.
http = Mangum(app, lifespan="off")


def handler(event: Any, context: Any) -> dict[str, Any]:
    """Handle an HTTP request, a warm-up ping, or an empty or default test event. Respond to others with an error."""
    problem: Exception | None = None
    if isinstance(event, dict) and "requestContext" in event:
        try:
            return http(event, context)
        except (AttributeError, KeyError, RuntimeError, TypeError, ValueError) as error:  # Mangum cannot read the event
            problem = error
    from lambda_app.events import answer  # noqa: PLC0415  # spares the import in cold starts with an HTTP request

    return answer(event, context, app, problem)


gc.freeze()  # later collections skip the startup objects as well
gc.enable()
