"""Build an OpenAPI example of each request and response for the served model."""

from collections.abc import Mapping, Sequence
from typing import Any

from lambda_app import __version__
from lambda_app.error_responses import error_body

Json = dict[str, Any]
REQUEST_ID = "95aded33-aefe-409e-a8f5-bb084fc15cef"
# A gray PNG of 2 x 2 pixels.
MAP = "iVBORw0KGgoAAAANSUhEUgAAAAIAAAACCAAAAABX3VL4AAAADklEQVR4nGMw/s/AkAYABWcBmW8t9PMAAAAASUVORK5CYII="


def examples(routes: Mapping[str, str], class_names: Sequence[str], version: str) -> Json:
    """Return an example of each schema, by schema name; `class_names` has at least two, `version` is the model's."""
    model = {"model_version": version}
    return {
        "ApiInformation": {"name": "Pet Classifier", **model, "routes": dict(list(routes.items())[:3])},
        "Health": {"status": "healthy", "model_loaded": True, **model, "device": "cpu"},
        **prediction_examples(class_names, model),
        **feedback_examples(class_names[0], model),
        "ModelInformation": model_information_example(class_names, model),
        "ErrorResponse": error_body("damaged_image", "the image is damaged: image file is truncated", REQUEST_ID),
    }


def prediction_examples(class_names: Sequence[str], model: Json) -> Json:
    """Return the examples of a prediction, its parts, and the log of predictions."""
    first, *others = class_names
    seen = {"predicted_class": first, "confidence": 0.998, "unknown": False}
    rectangle = {"left": 0.125, "top": 0, "width": 0.75, "height": 1}
    explanation = {"png": MAP, "width": 2, "height": 2, "peak": 5.8, "rectangle": rectangle}
    return {
        "PredictionResponse": {
            **seen,
            "predicted_label": 0,
            "probabilities": {first: 0.998, **{name: 0.002 / len(others) for name in others}},
            **model,
            "request_id": REQUEST_ID,
            "processing_time_ms": 8.2,
            "explanation": explanation,
        },
        "Explanation": explanation,
        "Rectangle": rectangle,
        "PredictionLog": {
            "count": 1,
            "class_distribution": {first: 1},
            "average_confidence": 0.998,
            "average_latency_ms": 8.2,
            "p95_latency_ms": 8.2,
            "predictions": [{"timestamp": "2026-01-31T12:00:00.000+00:00", **seen, "latency_ms": 8.2}],
        },
    }


def feedback_examples(label: str, model: Json) -> Json:
    """Return the examples of a correction and of the responses to it, without and with the photo."""
    feedback = {"request_id": REQUEST_ID, "label": label}
    return {
        "Feedback": feedback,
        "FeedbackResponse": {**feedback, **model},
        "ContributionResponse": {**feedback, **model, "contribution": "0123456789abcdef" * 4},
    }


def model_information_example(class_names: Sequence[str], model: Json) -> Json:
    return {
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
    }
