"""Serve the same model and preprocessing with BentoML: one worker process per core, as its documentation advises."""

from pathlib import Path

import bentoml

from lambda_app.classifier import Classifier
from lambda_app.preprocess import preprocess
from lambda_app.settings import Settings


@bentoml.service(workers="cpu_count")
class PetClassifier:
    def __init__(self) -> None:
        self.classifier = Classifier.load(Settings.from_env().model_path)

    @bentoml.api
    def predict(self, file: Path) -> dict[str, object]:
        pixels = preprocess(file.read_bytes(), self.classifier.metadata.image_size).pixels
        prediction = self.classifier.predict(pixels)
        return {"predicted_class": prediction.predicted_class, "probabilities": prediction.probabilities}
