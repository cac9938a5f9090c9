"""Lambda's entry point, and uvicorn's (`uvicorn lambda_app.handler:app`): built at import, once an instance."""
# ruff: noqa: E402  # the order is half of a fast start

import gc
import logging
import warnings
from typing import Any

# What the start makes is there to stay: looking for garbage in it takes 28 of the 400 ms of a cold start.
gc.disable()

from lambda_app.classifier import Classifier
from lambda_app.settings import Settings

settings = Settings.from_env()
# First of all: what FastAPI and the rest need then fits into the memory that loading has left; 10 ms and 5 MB less.
classifier = Classifier.load(settings.model_path)

from mangum import Mangum

from lambda_app.app import create_app

app = create_app(classifier, settings)

# Below ERROR they write what a client sent: its path, its address, a byte of a broken form, the texts of a TIFF; and
# Lambda's JSON format turns INFO or DEBUG on for all of them. What may be kept is in the request's own line.
for name in ("mangum", "uvicorn.access", "python_multipart", "PIL"):
    logging.getLogger(name).setLevel(logging.ERROR)

# Pillow's warnings quote numbers of a damaged file, and Python keeps each text forever so as not to repeat it.
warnings.filterwarnings("ignore", module=r"PIL\.")

# Mangum would run lifespan events on every invocation, and there are none.
http = Mangum(app, lifespan="off")


def handler(event: Any, context: Any) -> dict[str, Any]:
    """Answer one invocation: an HTTP request, or a ping that keeps the instance warm."""
    problem: Exception | None = None
    if isinstance(event, dict) and "requestContext" in event:
        try:
            return http(event, context)
        except (AttributeError, KeyError, RuntimeError, TypeError, ValueError) as error:  # the app answers its own
            problem = error
    from lambda_app.events import answer  # noqa: PLC0415  # a cold start that brings a photo does not pay for it

    return answer(event, context, app, problem)


gc.freeze()  # nor do later collections look at it
gc.enable()
