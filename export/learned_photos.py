"""Record from which photos each version of the model learned, so that a comparison can leave them out.

The registry stores the hashes of these photos for each version. `artifacts/learned_photos.json`, which is committed,
has those of the served model.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from mlflow.entities.model_registry import ModelVersion

from export.registry import Registry
from training.figures import write_json
from training.manifest import MANIFEST, read_manifest
from training.source import sha256

LEARNED = Path("artifacts/learned_photos.json")
PHOTO_COUNT = "training_photos"  # tag of a version: the number of its training photos, if that is known
DIGITS = 12  # of a SHA-256; the probability that any two of a million photos have the same ones is 0.2 %


@dataclass(frozen=True)
class LearnedPhotos:
    """The photos from which a version learned, as the first digits of their SHA-256, sorted."""

    data_hash: str  # of the manifest, as in the metadata of the model
    train: tuple[str, ...]
    val: tuple[str, ...]  # the epoch and the thresholds were chosen on these

    @classmethod
    def from_manifest(cls) -> "LearnedPhotos":
        """Return the photos from which a training with the current manifest learns."""
        hashes: dict[str, list[str]] = {"train": [], "val": [], "test": []}
        for row in read_manifest():
            hashes[row.split].append(row.sha256[:DIGITS])
        return cls(sha256(MANIFEST), tuple(sorted(hashes["train"])), tuple(sorted(hashes["val"])))

    @classmethod
    def parse(cls, text: str, data_hash: str) -> "LearnedPhotos | None":
        """Return the photos in the text of a file; None if it has none, or those of another manifest."""
        values = json.loads(text)
        if values.get("data_hash") != data_hash:
            return None
        return cls(data_hash, tuple(values["train"]), tuple(values["val"]))

    @classmethod
    def find(cls, registry: Registry, version: ModelVersion) -> "LearnedPhotos | None":
        """Return the photos of a version, from the registry or the committed file; None if they are not known."""
        committed = LEARNED.read_text() if LEARNED.exists() else None
        for text in (registry.find_text(version, LEARNED.name), committed):
            if text and (photos := cls.parse(text, version.tags["data_hash"])):
                return photos
        return None

    def store(self, registry: Registry, version: ModelVersion) -> None:
        """Store the photos of a version in the registry."""
        registry.store_text(version, LEARNED.name, self.serialize())
        registry.tag(version, PHOTO_COUNT, str(len(self.train)))

    def serialize(self) -> str:
        return json.dumps(asdict(self), indent=0) + "\n"


def write_learned(photos: LearnedPhotos | None) -> None:
    """Write the committed file. If the photos are not known, it has an empty object, because DVC requires the file."""
    write_json(LEARNED, asdict(photos) if photos else {}, indent=0)
