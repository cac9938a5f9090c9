"""Store released models and candidates for release in the MLflow model registry, one version per file.

A version is found by the SHA-256 of its file. The alias `champion` points to the version that serves, `challenger` to
the version that was last rejected or rolled back.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import mlflow
import numpy as np
import onnx
from mlflow.entities.model_registry import ModelVersion
from mlflow.models import infer_signature

from lambda_app.classifier import OUTPUTS, Classifier
from training.interruption import UserError
from training.source import sha256
from training.tracking import start_run

CHAMPION, CHALLENGER = "champion", "challenger"
PREDECESSOR = "predecessor"  # tag of a champion: the version that it replaced
ROLLED_BACK = "rolled_back"  # tag of a version that was rolled back: the time
CARD_TAG = "card"  # tag of a version that serves or served: its export/MODEL_CARD.md


@dataclass(frozen=True)
class Registry:
    """The versions of one registered model."""

    name: str

    @property
    def client(self) -> mlflow.MlflowClient:
        return mlflow.MlflowClient()

    def find_alias(self, alias: str) -> ModelVersion | None:
        """Return the version that an alias points to, or None."""
        models = self.client.search_registered_models(f"name = '{self.name}'")
        number = models[0].aliases.get(alias) if models else None
        return None if number is None else self.client.get_model_version(self.name, number)

    def get_alias(self, alias: str) -> ModelVersion:
        """Return the version that an alias points to. Raise `UserError` if there is none."""
        version = self.find_alias(alias)
        if version is None:
            raise UserError(
                f"the registered model {self.name!r} has no {alias}; run `.venv/bin/dvc repro` to register a version"
            )
        return version

    def find_file(self, digest: str) -> ModelVersion | None:
        """Return the version whose file has this SHA-256, or None."""
        versions = self.client.search_model_versions(f"name = '{self.name}' and tags.sha256 = '{digest}'")
        return versions[0] if versions else None

    def register(self, path: Path, tags: Mapping[str, str]) -> ModelVersion:
        """Register a file as a new version, in the MLflow run that trained it."""
        classifier = Classifier.load(path)
        metadata = classifier.metadata
        # The input example is a black image: a registry is shared, and photos may be private.
        example = {"images": np.zeros((1, 3, metadata.image_size, metadata.image_size), np.uint8)}
        outputs = dict(zip(OUTPUTS, classifier.session.run(OUTPUTS, example), strict=True))
        with start_run(metadata.run_id):
            logged = mlflow.onnx.log_model(
                onnx.load(path),
                name="model",
                signature=infer_signature(example, outputs),
                input_example=example,
                pip_requirements=mlflow.onnx.get_default_pip_requirements(),  # MLflow loads the model to infer others
                onnx_execution_providers=["CPUExecutionProvider"],
                save_as_external_data=False,  # keep the single released file
            )
        tags = {"sha256": sha256(path), "model_version": metadata.model_version, **tags}
        tags |= {"data_hash": metadata.data_hash, "git_commit": metadata.git_commit}
        version: ModelVersion = mlflow.register_model(logged.model_uri, self.name, tags=tags)
        return version

    def read_file(self, version: ModelVersion) -> bytes:
        """Return the file of a version. Raise `UserError` if its SHA-256 is not the registered one."""
        with TemporaryDirectory() as folder:
            address = f"models:/{self.name}/{version.version}/model.onnx"
            path = Path(mlflow.artifacts.download_artifacts(address, dst_path=folder))
            if sha256(path) != version.tags["sha256"]:
                raise UserError(f"{address} has SHA-256 {sha256(path)}; expected {version.tags['sha256']}")
            return path.read_bytes()

    def store_text(self, version: ModelVersion, name: str, text: str) -> None:
        """Store a text file of a version with the run that trained it."""
        self.client.log_text(version.run_id, text, f"version {version.version}/{name}")

    def find_text(self, version: ModelVersion, name: str) -> str | None:
        """Return a text file that was stored for a version, or None."""
        folder = f"version {version.version}"
        stored = {file.path for file in self.client.list_artifacts(version.run_id, folder)}
        if f"{folder}/{name}" not in stored:
            return None
        text: str = mlflow.artifacts.load_text(f"runs:/{version.run_id}/{folder}/{name}")
        return text

    def tag(self, version: ModelVersion, key: str, value: str) -> None:
        self.client.set_model_version_tag(self.name, version.version, key, value)

    def set_challenger(self, version: ModelVersion) -> None:
        self.client.set_registered_model_alias(self.name, CHALLENGER, version.version)

    def promote(self, version: ModelVersion) -> None:
        """Make the version the champion, and tag it with the champion that it replaces."""
        champion, challenger = self.find_alias(CHAMPION), self.find_alias(CHALLENGER)
        if champion is not None and champion.version != version.version:
            self.tag(version, PREDECESSOR, str(champion.version))
        if ROLLED_BACK in version.tags:
            self.client.delete_model_version_tag(self.name, version.version, ROLLED_BACK)
        self.client.set_registered_model_alias(self.name, CHAMPION, version.version)
        if challenger is not None and challenger.version == version.version:
            self.client.delete_registered_model_alias(self.name, CHALLENGER)

    def get_predecessor(self, champion: ModelVersion) -> ModelVersion:
        """Return the version that the champion replaced. Raise `UserError` if it replaced none."""
        if PREDECESSOR not in champion.tags:
            raise UserError(
                f"{self.name} version {champion.version} replaced no other version; nothing to roll back to"
            )
        return self.client.get_model_version(self.name, champion.tags[PREDECESSOR])

    def roll_back(self, champion: ModelVersion, predecessor: ModelVersion) -> None:
        """Make the predecessor the champion again.

        The former champion becomes the challenger, so that promoting it undoes the rollback.
        """
        self.tag(champion, ROLLED_BACK, f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC")
        self.client.set_registered_model_alias(self.name, CHAMPION, predecessor.version)
        self.set_challenger(champion)
