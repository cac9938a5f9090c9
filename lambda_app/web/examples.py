"""Build an OpenAPI example of each request and response for the served model."""

from collections.abc import Mapping, Sequence
from typing import Any

from lambda_app import __version__

Json = dict[str, Any]
REQUEST_ID = "95aded33-aefe-409e-a8f5-bb084fc15cef"
# A gray PNG of 2 x 2 pixels.
MAP = "iVBORw0KGgoAAAANSUhEUgAAAAIAAAACCAAAAABX3VL4AAAADklEQVR4nGMw/s/AkAYABWcBmW8t9PMAAAAASUVORK5CYII="


def examples(routes: Mapping[str, str], class_names: Sequence[str], version: str) -> Json:
    """Return an example of each schema, by schema name."""
    first, *others = class_names
    model = {"model_version": version}
    seen = {"predicted_class": first, "confidence": 0.998, "unknown": False}
    logged = {"timestamp": "2026-01-31T12:00:00.000+00:00", **seen, "latency_ms": 8.2}
    rectangle = {"left": 0.125, "top": 0, "width": 0.75, "height": 1}
    explanation = {"png": MAP, "width": 2, "height": 2, "peak": 5.8, "rectangle": rectangle}
    rest = {name: 0.002 / len(others) for name in others}
    return {
        "ApiInformation": {"name": "Pet Classifier", **model, "routes": dict(list(routes.items())[:3])},
        "Health": {"status": "healthy", "model_loaded": True, **model, "device": "cpu"},
        "PredictionResponse": {
            **seen,
            "predicted_label": 0,
            "probabilities": {first: 0.998, **rest},
            **model,
            "request_id": REQUEST_ID,
            "processing_time_ms": 8.2,
            "explanation": explanation,
        },
        "Explanation": explanation,
        "Rectangle": rectangle,
        "Feedback": {"request_id": REQUEST_ID, "label": first},
        "ContributionResponse": {
            "request_id": REQUEST_ID,
            "label": first,
            **model,
            "contribution": "0123456789abcdef" * 4,
        },
        "FeedbackResponse": {"request_id": REQUEST_ID, "label": first, **model},
        "PredictionLog": {
            "count": 1,
            "class_distribution": {first: 1},
            "average_confidence": 0.998,
            "average_latency_ms": 8.2,
            "p95_latency_ms": 8.2,
            "predictions": [logged],
        },
        "ModelInformation": {
            **model,
            "software_version": __version__,
            "architecture": "mobilenet_v2",
            "parameters": 3_500_000,
            "class_names": list(class_names),
            "image_size": 224,
            "temperature": 1.1,
            "unknown_threshold": 12.5,
            "run_id": "0123456789abcdef0123456789abcdef",
            "git_commit": "0123456789abcdef0123456789abcdef01234567",
            "data_hash": "0123456789abcdef" * 4,
            "metrics": {"test": {"accuracy": 0.99}},
            "image": "",
            "commit": "",
        },
        "ErrorResponse": error("damaged_image", "the image is damaged: image file is truncated"),
    }


def error(code: str, message: str) -> Json:
    """Return an example of `ErrorResponse`."""
    return {"error": {"code": code, "message": message, "request_id": REQUEST_ID}}
