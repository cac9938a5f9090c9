"""Import what a function with FastAPI and ONNX Runtime needs, and return a constant response."""

import fastapi  # noqa: F401  # the benchmark measures these imports
import mangum  # noqa: F401
import onnxruntime  # noqa: F401
import PIL.Image  # noqa: F401


def handler(_event: object, _context: object) -> dict[str, object]:
    return {"statusCode": 200, "body": "{}"}
