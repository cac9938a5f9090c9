"""The MLflow model registry: every file that was up for release is a version, found again by its SHA-256.

The alias `champion` is the version that serves, `challenger` the one that was last refused or rolled back.
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
from training.source import sha256
from training.tracking import start_run

CHAMPION, CHALLENGER = "champion", "challenger"
PREDECESSOR = "predecessor"  # the tag that a champion carries: the version it took the place of
ROLLED_BACK = "rolled_back"  # the tag of a version that failed in service: when that was


class RegistryError(SystemExit):
    """The registry lacks what was asked for, or holds another file than it says."""


@dataclass(frozen=True)
class Registry:
    """The versions of one registered model."""

    name: str

    @property
    def client(self) -> mlflow.MlflowClient:
        return mlflow.MlflowClient()

    def holder(self, alias: str) -> ModelVersion | None:
        models = self.client.search_registered_models(f"name = '{self.name}'")
        number = models[0].aliases.get(alias) if models else None
        return None if number is None else self.client.get_model_version(self.name, number)

    def expect(self, alias: str) -> ModelVersion:
        """Raises RegistryError where nobody holds the alias."""
        version = self.holder(alias)
        if version is None:
            raise RegistryError(f"the registered model {self.name!r} has no {alias}; `dvc repro` releases one")
        return version

    def find(self, digest: str) -> ModelVersion | None:
        """The version whose file has this SHA-256."""
        found = self.client.search_model_versions(f"name = '{self.name}' and tags.sha256 = '{digest}'")
        return found[0] if found else None

    def register(self, path: Path, tags: Mapping[str, str]) -> ModelVersion:
        """A new version, in the run that trained it."""
        classifier = Classifier.load(path)
        metadata = classifier.metadata
        # Black, because a registry is shared and photos may not be.
        example = {"images": np.zeros((1, 3, metadata.image_size, metadata.image_size), np.uint8)}
        answer = dict(zip(OUTPUTS, classifier.session.run(OUTPUTS, example), strict=True))
        with start_run(metadata.run_id):
            logged = mlflow.onnx.log_model(
                onnx.load(path),
                name="model",
                signature=infer_signature(example, answer),
                input_example=example,
                registered_model_name=self.name,
                pip_requirements=mlflow.onnx.get_default_pip_requirements(),  # else a process loads it to find out
                onnx_execution_providers=["CPUExecutionProvider"],
                save_as_external_data=False,  # one file, the released one
            )
        version = self.client.get_model_version(self.name, str(logged.registered_model_version))
        tags = {"sha256": sha256(path), "model_version": metadata.model_version, **tags}
        tags |= {"data_hash": metadata.data_hash, "git_commit": metadata.git_commit}
        for key, value in tags.items():
            self.tag(version, key, value)
        return self.client.get_model_version(self.name, version.version)

    def read(self, version: ModelVersion) -> bytes:
        """The version's file. Raises RegistryError where it is not the one that was registered."""
        with TemporaryDirectory() as folder:
            address = f"models:/{self.name}/{version.version}/model.onnx"
            path = Path(mlflow.artifacts.download_artifacts(address, dst_path=folder))
            if sha256(path) != version.tags["sha256"]:
                raise RegistryError(f"{address} has SHA-256 {sha256(path)}; expected {version.tags['sha256']}")
            return path.read_bytes()

    def tag(self, version: ModelVersion, key: str, value: str) -> None:
        self.client.set_model_version_tag(self.name, version.version, key, value)

    def challenge(self, version: ModelVersion) -> None:
        self.client.set_registered_model_alias(self.name, CHALLENGER, version.version)

    def crown(self, version: ModelVersion) -> None:
        """The version becomes the champion and remembers whose place it took."""
        champion, challenger = self.holder(CHAMPION), self.holder(CHALLENGER)
        if champion is not None and champion.version != version.version:
            self.tag(version, PREDECESSOR, str(champion.version))
        if ROLLED_BACK in version.tags:
            self.client.delete_model_version_tag(self.name, version.version, ROLLED_BACK)
        self.client.set_registered_model_alias(self.name, CHAMPION, version.version)
        if challenger is not None and challenger.version == version.version:
            self.client.delete_registered_model_alias(self.name, CHALLENGER)

    def predecessor(self, champion: ModelVersion) -> ModelVersion:
        """Raises RegistryError where the champion is the first."""
        if PREDECESSOR not in champion.tags:
            raise RegistryError(f"{self.name} version {champion.version} took nobody's place: there is no way back")
        return self.client.get_model_version(self.name, champion.tags[PREDECESSOR])

    def roll_back(self, champion: ModelVersion, predecessor: ModelVersion) -> None:
        """The predecessor is champion again; the other becomes the challenger, so that promoting it undoes this."""
        self.tag(champion, ROLLED_BACK, f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC")
        self.client.set_registered_model_alias(self.name, CHAMPION, predecessor.version)
        self.challenge(champion)
