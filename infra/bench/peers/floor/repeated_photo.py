"""Run the network once on copies of one photo: the lower bound for a batch.

`/predict?photos=8` answers with the milliseconds of the run alone, for eight copies.
"""

import base64
import json
import time
from typing import Any

import numpy as np

from lambda_app.classifier import Classifier
from lambda_app.preprocess import preprocess
from lambda_app.settings import Settings

classifier = Classifier.load(Settings.from_env().model_path)


def handler(event: dict[str, Any], _context: object) -> dict[str, object]:
    count = int(event["queryStringParameters"]["photos"])
    photo = preprocess(base64.b64decode(event["body"]), classifier.metadata.image_size)
    images = np.repeat(photo.pixels[None], count, axis=0)  # (N, 3, S, S)
    began = time.perf_counter()
    outputs = classifier.run(images)
    run_ms = (time.perf_counter() - began) * 1000
    return {"statusCode": 200, "body": json.dumps({"photos": len(outputs.probabilities), "run_ms": run_ms})}
