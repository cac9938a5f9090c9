"""Stage 9: what the function that serves would log of the test photos: the reference that traffic is compared with.

Nothing of a photo is kept but the fields of its log line and its true class.
"""

import json
from pathlib import Path
from typing import Any

from tqdm import tqdm

from export.release import RELEASED
from lambda_app.classifier import Classifier
from lambda_app.prediction_record import classify, describe_photo
from lambda_app.preprocess import preprocess
from lambda_app.signals import NUMERIC_FIELDS
from training.data import read_manifest
from training.source import PHOTOS, Source

REFERENCE = Path("artifacts/reference.json")
MOST = (
    5000  # photos, evenly spread: more would make the file and the report's resampling large, the limits hardly finer
)


def main() -> None:
    reference = build(Classifier.load(RELEASED))
    REFERENCE.write_text(json.dumps(reference) + "\n")
    print(f"wrote {REFERENCE}: {reference['photos']} test photos as {reference['model_version']} would log them")


def build(classifier: Classifier) -> dict[str, Any]:
    """The photos of the test split, a list for each field, all in the manifest's order."""
    source = Source(PHOTOS)
    photos = [row for row in read_manifest() if row["split"] == "test"]
    photos = photos[:: -(-len(photos) // MOST) or 1]  # the manifest is sorted by class
    rows = [
        logged(classifier, source.read(row["id"])) | {"label": row["label"]}
        for row in tqdm(photos, desc="reference", unit="photo")
    ]
    return {
        "model_version": classifier.metadata.model_version,
        "class_names": list(classifier.metadata.class_names),
        "photos": len(rows),
        "columns": {name: [row[name] for row in rows] for name in rows[0]} if rows else {},
    }


def logged(classifier: Classifier, data: bytes) -> dict[str, Any]:
    """Return the log fields of a photo that the report compares; one photo per run, as in serving."""
    photo = preprocess(data, classifier.metadata.image_size)
    [record] = classify(classifier, [photo.pixels], [describe_photo(photo, len(data))])
    fields = record.log_fields()
    return {name: fields[name] for name in ("predicted_class", *NUMERIC_FIELDS)}


if __name__ == "__main__":
    main()
