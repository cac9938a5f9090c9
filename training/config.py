"""Read params.yaml: each section is a frozen dataclass; an unknown key or an invalid value is an error."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import yaml
from pydantic import AfterValidator, ConfigDict, Field, StringConstraints, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[int, Field(gt=0)]
NonzeroShare = Annotated[float, Field(gt=0, le=1)]
LowerCase = Annotated[str, StringConstraints(to_lower=True, min_length=1)]
Section = TypeVar("Section")
FORBID = ConfigDict(extra="forbid")
# Keys of earlier versions of params.yaml, and of the MLflow runs that were trained with them.
RENAMED = {
    "train.recall": "train.distillation_weight",
    "augment.grey": "augment.gray",
    "verify.min_recognised": "verify.min_unknown_rate",
    "verify.behaviour_photos": "verify.behavior_photos",
}


def check_ascending(bounds: tuple[float, float]) -> tuple[float, float]:
    if bounds[0] > bounds[1]:
        raise ValueError("the first bound is above the second")
    return bounds


@dataclass(frozen=True, config=FORBID)
class Prepare:
    train_share: Annotated[float, Field(gt=0, lt=1)]
    near_duplicate_bits: Annotated[int, Field(ge=0, le=64)]
    aliases: dict[LowerCase, LowerCase]  # class name to the name it counts as


@dataclass(frozen=True, config=FORBID)
class Harvest:
    per_day: Positive
    per_class: Positive
    min_label_probability: Share


@dataclass(frozen=True, config=FORBID)
class Train:
    architecture: Literal[
        "efficientnet_lite0",
        "mobilenet_v2",
        "mobilenet_v2_050",
        "mobilenet_v3_small",
        "resnet18",
        "simple_cnn",
        "improved_cnn",
        "logistic",
    ]
    weights: str | None
    image_size: Positive
    epochs: Positive
    min_steps: Positive
    patience: Positive
    batch_size: Positive
    lr: Annotated[float, Field(gt=0)]
    body_lr: Annotated[float, Field(gt=0)]
    warmup: Annotated[float, Field(ge=0, lt=1)]
    weight_decay: Annotated[float, Field(ge=0)]
    label_smoothing: Share
    ema_decay: Share
    dropout: Share
    distillation_weight: Annotated[float, Field(ge=0)]
    freeze_batch_norm: bool
    bf16: bool
    workers: Annotated[int, Field(ge=0)]
    seed: int


@dataclass(frozen=True, config=FORBID)
class Augment:
    crop_scale: Annotated[tuple[NonzeroShare, NonzeroShare], AfterValidator(check_ascending)]
    flip: Share
    rotation: Annotated[float, Field(ge=0, le=180)]
    brightness: Share
    contrast: Share
    gray: Share
    blur: Share
    noise: Share


@dataclass(frozen=True, config=FORBID)
class Evaluate:
    image_size: Positive
    batch_size: Positive
    unknown_rate: Share


@dataclass(frozen=True, config=FORBID)
class Export:
    opset: Positive


@dataclass(frozen=True, config=FORBID)
class Quantize:
    photos: Positive


@dataclass(frozen=True, config=FORBID)
class Verify:
    classes: tuple[str, ...]
    min_photos: Positive
    max_probability_difference: Share
    max_accuracy_loss: Share
    min_accuracy: dict[str, Share]
    max_unknown_rate: dict[str, Share]
    min_unknown_rate: dict[str, Share]
    max_calibration_error: Share
    max_size_mb: Annotated[float, Field(gt=0)]
    max_latency_ratio: Annotated[float, Field(gt=0)]
    min_agreement: Share
    behavior_photos: Positive
    latency_repeats: Positive


@dataclass(frozen=True, config=FORBID)
class Tracking:
    experiment: str


@dataclass(frozen=True, config=FORBID)
class Release:
    registered_model: str
    confidence: Annotated[float, Field(gt=0.5, lt=1)]
    margin: Share
    saving: Share


class ConfigError(SystemExit):
    """Report that params.yaml is invalid; the message names the file, the section, the key and what was expected."""


def load(section: type[Section], path: Path = Path("params.yaml")) -> Section:
    """Read the section that has the name of the class, in lower case. Raise `ConfigError` if it is invalid."""
    name = section.__name__.lower()
    try:
        sections = yaml.safe_load(path.read_text())
    except (OSError, yaml.YAMLError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from None
    if not isinstance(sections, dict):
        raise ConfigError(f"{path} is {sections!r}; expected sections with keys")
    values = sections.get(name)
    try:
        return TypeAdapter(section).validate_python(values)
    except ValidationError as error:
        problems = "; ".join(describe(name, problem) for problem in error.errors())
        raise ConfigError(f"{path}, section {name!r}: {problems}") from None


def describe(section: str, problem: Any) -> str:
    """Describe one of pydantic's errors: the key, what is wrong, and the value or the key's new name."""
    key = ".".join(map(str, problem["loc"])) or section
    if new := RENAMED.get(f"{section}.{key}"):
        return f"{key}: was renamed; write {new.split('.')[1]} instead (got {problem['input']!r})"
    return f"{key}: {problem['msg']} (got {problem['input']!r})"


def flatten(*sections: Any) -> dict[str, Any]:
    """Return the sections as `section.key: value`, for logging."""
    pairs = ((type(s).__name__.lower(), asdict(s)) for s in sections)
    return {f"{name}.{key}": value for name, values in pairs for key, value in values.items()}
