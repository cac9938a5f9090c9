"""Do the least work that answers a request: decode, resize, run the network. No routes, validation or telemetry."""

import base64
import json
from typing import Any

from lambda_app.classifier import Classifier
from lambda_app.preprocess import preprocess
from lambda_app.settings import Settings

classifier = Classifier.load(Settings.from_env().model_path)


def handler(event: dict[str, Any], _context: object) -> dict[str, object]:
    photo = preprocess(base64.b64decode(event["body"]), classifier.metadata.image_size)
    outputs = classifier.run(photo.pixels[None])
    return {"statusCode": 200, "body": json.dumps({"probabilities": outputs.probabilities[0].tolist()})}
