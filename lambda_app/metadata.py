"""Read and write the metadata of the model file; a missing key is an error and never gets a default."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any


class MetadataError(ValueError):
    """The model file lacks metadata or outputs that serving needs, or has a value of the wrong type."""


@dataclass(frozen=True)
class Metadata:
    """Metadata in ONNX `metadata_props`: one JSON value per key."""

    class_names: tuple[str, ...]  # in the order of the model's outputs
    image_size: int  # S of the input (N, 3, S, S)
    model_version: str
    run_id: str  # MLflow run that trained the model
    architecture: str
    parameters: int
    temperature: float  # divides the logits inside the graph
    unknown_threshold: float  # a photo with a lower familiarity is reported as unknown
    data_hash: str  # SHA-256 of the manifest of training photos
    git_commit: str
    metrics: Mapping[str, Mapping[str, Any]]  # by evaluation set

    def to_props(self) -> dict[str, str]:
        """Return the fields as JSON strings for `metadata_props`."""
        return {key: json.dumps(value, sort_keys=True) for key, value in asdict(self).items()}

    @classmethod
    def from_props(cls, props: Mapping[str, str]) -> "Metadata":
        """Return the metadata.

        Raise `MetadataError` if a key is missing or not JSON, or if class names, image size or threshold are invalid.
        """
        values = {field.name: _value(props, field.name) for field in fields(cls)}
        names = values["class_names"]
        if not isinstance(names, list) or len(names) < 2:
            raise MetadataError(f"class_names is {names!r}; expected a list of at least two names")
        if not isinstance(values["image_size"], int) or values["image_size"] < 1:
            raise MetadataError(f"image_size is {values['image_size']!r}; expected a positive integer")
        if not isinstance(values["unknown_threshold"], int | float):
            raise MetadataError(f"unknown_threshold is {values['unknown_threshold']!r}; expected a number")
        return cls(**values | {"class_names": tuple(names)})


def _value(props: Mapping[str, str], key: str) -> Any:
    if key not in props:
        raise MetadataError(
            f"the model file has no metadata {key!r}; export the model again with export/convert.py, which writes it"
        )
    try:
        return json.loads(props[key])
    except json.JSONDecodeError as error:
        raise MetadataError(f"the model file's metadata {key!r} is {props[key]!r}; expected JSON") from error
