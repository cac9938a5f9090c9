"""Serve the same model and preprocessing with LitServe: one worker process per core, as its documentation advises."""

import os

import litserve
from fastapi import UploadFile

from lambda_app.classifier import Classifier
from lambda_app.outputs import Prediction
from lambda_app.preprocess import preprocess
from lambda_app.settings import Settings


class PetClassifier(litserve.LitAPI):
    def setup(self, device: str) -> None:  # noqa: ARG002  # part of the interface
        self.classifier = Classifier.load(Settings.from_env().model_path)

    def decode_request(self, request: UploadFile) -> bytes:
        return request.file.read()

    def predict(self, data: bytes) -> Prediction:
        photo = preprocess(data, self.classifier.metadata.image_size)
        return self.classifier.predict(photo.pixels)

    def encode_response(self, prediction: Prediction) -> dict[str, object]:
        return {"predicted_class": prediction.predicted_class, "probabilities": prediction.probabilities}


if __name__ == "__main__":
    server = litserve.LitServer(PetClassifier(), accelerator="cpu", workers_per_device=os.cpu_count() or 1)
    server.run(port=8000, generate_client_file=False, log_level="warning")
