"""The least that a FastAPI function on ONNX Runtime has to load: the bare imports, and an answer."""

import fastapi  # noqa: F401  # the import is what is measured, here and below
import mangum  # noqa: F401
import onnxruntime  # noqa: F401
import PIL.Image  # noqa: F401


def handler(_event: object, _context: object) -> dict[str, object]:
    return {"statusCode": 200, "body": "{}"}
