"""Stage 6: the verified model becomes `lambda_app/model.onnx`, an MLflow model version, and the alias points to it."""

import shutil
from pathlib import Path

import mlflow
import numpy as np
import onnx
from mlflow.models import infer_signature

from export.convert import MODEL
from lambda_app.classifier import Classifier
from training import config
from training.source import sha256
from training.tracking import start_run

RELEASED = Path("lambda_app/model.onnx")


def main() -> None:
    params = config.load(config.Release)
    classifier = Classifier.load(MODEL)
    version = register(classifier, params)
    partial = RELEASED.with_suffix(".partial")
    shutil.copyfile(MODEL, partial)
    partial.rename(RELEASED)
    print(f"released {classifier.metadata.model_version} as {RELEASED} and {params.registered_model} version {version}")


def register(classifier: Classifier, params: config.Release) -> str:
    """A new version of the registered model, in the run that trained it; returns its number."""
    metadata = classifier.metadata
    example = np.zeros((1, 3, metadata.image_size, metadata.image_size), np.uint8)
    outputs = classifier.run(example)
    signature = infer_signature({"images": example}, {"probabilities": outputs.probabilities, "logits": outputs.logits})
    with start_run(metadata.run_id):
        logged = mlflow.onnx.log_model(
            onnx.load(MODEL),
            name="model",
            signature=signature,
            registered_model_name=params.registered_model,
            save_as_external_data=False,  # one file, the released one
        )
    client = mlflow.MlflowClient()
    version = str(logged.registered_model_version)
    client.set_model_version_tag(params.registered_model, version, "model_version", metadata.model_version)
    client.set_model_version_tag(params.registered_model, version, "sha256", sha256(MODEL))
    client.set_registered_model_alias(params.registered_model, params.alias, version)
    return version


if __name__ == "__main__":
    main()
