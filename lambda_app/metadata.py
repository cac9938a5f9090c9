"""What the model file says about itself: written at export, read at start; a missing key is an error, not a default."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any


class MetadataError(ValueError):
    """The model file lacks a key or holds a value of the wrong kind."""


@dataclass(frozen=True)
class Metadata:
    """ONNX `metadata_props`, one JSON value a key."""

    class_names: tuple[str, ...]  # in the order of the outputs
    image_size: int  # S of the input (N, 3, S, S)
    model_version: str
    run_id: str  # MLflow
    architecture: str
    parameters: int
    temperature: float  # divides the logits inside the graph
    unknown_threshold: float  # a familiarity below it: none of the classes was recognised
    data_hash: str  # SHA-256 of the manifest
    git_commit: str
    metrics: Mapping[str, Mapping[str, Any]]  # of each evaluated set

    def to_props(self) -> dict[str, str]:
        """The fields as ONNX wants them: strings."""
        return {key: json.dumps(value, sort_keys=True) for key, value in asdict(self).items()}

    @classmethod
    def from_props(cls, props: Mapping[str, str]) -> "Metadata":
        """Raises MetadataError naming the key that is missing or malformed."""
        values = {field.name: _value(props, field.name) for field in fields(cls)}
        names = values["class_names"]
        if not isinstance(names, list) or len(names) < 2:
            raise MetadataError(f"class_names is {names!r}; expected a list of at least two names")
        if not isinstance(values["image_size"], int) or values["image_size"] < 1:
            raise MetadataError(f"image_size is {values['image_size']!r}; expected a positive integer")
        return cls(**values | {"class_names": tuple(names)})


def _value(props: Mapping[str, str], key: str) -> Any:
    if key not in props:
        raise MetadataError(
            f"the model file has no metadata {key!r}; expected all of those that export/convert.py writes"
        )
    try:
        return json.loads(props[key])
    except json.JSONDecodeError as error:
        raise MetadataError(f"the model file's metadata {key!r} is {props[key]!r}; expected JSON") from error
