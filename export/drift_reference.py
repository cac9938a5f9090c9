"""Write the reference that drift detection compares traffic with.

The reference holds what the released model would log for each test photo. It keeps only the fields of the log line and
the true class of a photo, never its name or content.
"""

import json
from typing import Any

from tqdm import tqdm

from export.files import REFERENCE, RELEASED
from lambda_app.classifier import Classifier
from lambda_app.prediction_record import classify, describe_photo
from lambda_app.preprocess import preprocess
from lambda_app.signals import NUMERIC_FIELDS
from training.figures import write_json
from training.manifest import list_classes, read_manifest
from training.source import PHOTOS, Source

# More photos would enlarge the file and slow down the report's resampling, but barely tighten its limits.
MAX_PHOTOS = 5000


def main() -> None:
    classifier = Classifier.load(RELEASED)
    served_names, photo_names = list(classifier.metadata.class_names), list_classes(read_manifest())
    if served_names != photo_names:
        print(
            f"{REFERENCE} is unchanged: the served model has the classes {', '.join(served_names)}, and the photos "
            f"have {', '.join(photo_names)}; {describe_reference(classifier)}"
        )
        return
    reference = build_reference(classifier)
    write_json(REFERENCE, reference, indent=None)
    print(f"wrote {REFERENCE}: {reference['photos']} test photos as {reference['model_version']} would log them")


def describe_reference(classifier: Classifier) -> str:
    """Return which model the reference on file describes."""
    version = json.loads(REFERENCE.read_text())["model_version"] if REFERENCE.exists() else None
    if version == classifier.metadata.model_version:
        return "it describes the served model"
    return (
        f"it describes {version or 'no model'}: run `make train` with photos of these classes before you detect drift"
    )


def build_reference(classifier: Classifier) -> dict[str, Any]:
    """Return at most `MAX_PHOTOS` photos of the test split, evenly spread: one list per field, in manifest order."""
    source = Source(PHOTOS)
    photos = [row for row in read_manifest() if row.split == "test"]
    photos = photos[:: -(-len(photos) // MAX_PHOTOS) or 1]  # sorted by path: each folder is represented
    rows = [
        prediction_fields(classifier, source.read(row.id)) | {"label": row.label}
        for row in tqdm(photos, desc="reference", unit="photo")
    ]
    return {
        "model_version": classifier.metadata.model_version,
        "class_names": list(classifier.metadata.class_names),
        "photos": len(rows),
        "columns": {name: [row[name] for row in rows] for name in rows[0]} if rows else {},
    }


def prediction_fields(classifier: Classifier, data: bytes) -> dict[str, Any]:
    """Return the log fields that describe a photo and its prediction. Run one photo at a time, as serving does."""
    photo = preprocess(data, classifier.metadata.image_size)
    [record] = classify(classifier, [photo.pixels])
    fields = record.log_fields() | describe_photo(photo, len(data), decode_s=0)  # the reference contains no times
    return {name: fields[name] for name in ("predicted_class", *NUMERIC_FIELDS)}


if __name__ == "__main__":
    main()
