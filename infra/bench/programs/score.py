"""Measure the batch handler and its lower bound: `python score.py TURNS PHOTOS BUCKET KEY`.

Prints one line of JSON with CPU milliseconds per photo, of all threads of this process:

- `handler`: the handler fetches PHOTOS copies of one photo from S3 over HTTP, classifies them and writes the results;
- `floor`: the same number of photos is only decoded and run through the network;
- `network`: the network alone, by batch size.
"""

import json
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from botocore.session import Session
from numpy.typing import NDArray

from lambda_app.batch.handler import S3_CONFIG, BatchSettings, Scorer
from lambda_app.classifier import Classifier
from lambda_app.preprocess import preprocess

BATCHES = (1, 2, 4, 8, 16)


def main(turns: int, photos: int, bucket: str, key: str) -> None:
    settings = BatchSettings(results_bucket=bucket, results_prefix="results/", log_level="WARNING")
    session = Session()
    s3 = session.create_client("s3", config=S3_CONFIG)
    classifier = Classifier.load(settings.model_path)
    scorer = Scorer(classifier, settings, s3, session.get_credentials())
    message = json.dumps({"job": "bench", "bucket": bucket, "keys": [key] * photos})
    data = s3.get_object(Bucket=bucket, Key=key)["Body"].read()
    pixels = preprocess(data, classifier.metadata.image_size).pixels[None]

    def floor() -> None:
        for _ in range(photos):
            classifier.run(preprocess(data, classifier.metadata.image_size).pixels[None])

    scorer.score(message)  # not counted, because it opens the connections and fills the caches
    times: dict[str, Any] = {"handler": [], "floor": []}
    for _ in range(turns):
        times["handler"].append(cpu_ms(lambda: scorer.score(message), photos))
        times["floor"].append(cpu_ms(floor, photos))
    arena = Classifier.load(settings.model_path, arena=True)
    times["network"] = {count: time_network(arena, np.repeat(pixels, count, axis=0), turns) for count in BATCHES}
    print(json.dumps(times))


def time_network(classifier: Classifier, images: NDArray[np.uint8], turns: int) -> list[float]:
    """Return CPU milliseconds per image. The first run of a size is not counted, because the memory arena grows."""
    classifier.run(images)
    return [cpu_ms(lambda: [classifier.run(images) for _ in range(5)], 5 * len(images)) for _ in range(turns)]


def cpu_ms(work: Callable[[], object], photos: int) -> float:
    began = time.process_time()
    work()
    return (time.process_time() - began) * 1000 / photos


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:])
