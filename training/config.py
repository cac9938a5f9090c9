"""Read params.yaml: each section is a frozen dataclass; an unknown key or an invalid value is an error.

`python -m training.config` is the first stage of the pipeline, and `make train` runs it before everything else. It
checks all sections, so that a typo stops the pipeline before DVC removes the outputs of the stage that would read it.
"""

from collections.abc import Iterable
from dataclasses import asdict, fields
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import yaml
from pydantic import AfterValidator, ConfigDict, Field, StringConstraints, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from training.interruption import UserError

Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[int, Field(gt=0)]
NonzeroShare = Annotated[float, Field(gt=0, le=1)]
LowerCase = Annotated[str, StringConstraints(to_lower=True, min_length=1)]
Section = TypeVar("Section")
FORBID = ConfigDict(extra="forbid")
BASELINES = ("simple_cnn", "improved_cnn", "logistic")  # networks without pretrained weights
PARAMS = Path("params.yaml")
HELD_BACK = Path("data/raw/held-back")  # held-back contributions: a link, or an empty folder
CHECKED = Path("artifacts/params.checked")  # its content never changes, so that later stages run again only if needed
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
    perfect_epochs: Positive
    batch_size: Positive
    balance_classes: bool
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
    seed: Annotated[int, Field(ge=0, lt=2**31)]  # NumPy's limit is 2**32, and each epoch adds to it


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
    growth: Annotated[float, Field(gt=0)]


SECTIONS = (Prepare, Harvest, Train, Augment, Evaluate, Export, Quantize, Verify, Tracking, Release)


class ConfigError(UserError):
    """Report that params.yaml is invalid; the message names the file, the section, the key and what was expected."""


def main() -> None:
    check_sections()
    HELD_BACK.mkdir(parents=True, exist_ok=True)  # a dependency of the release, which has to exist
    CHECKED.parent.mkdir(parents=True, exist_ok=True)
    CHECKED.write_text("valid\n")


def check_sections(path: Path = PARAMS) -> None:
    """Raise `ConfigError` with every problem of every section, and with the name of every unknown section."""
    known = {section.__name__.lower(): section for section in SECTIONS}
    sections = read_sections(path)
    problems = [
        f"{path}, section {name!r}: unknown section{suggest(name, known)}; expected {', '.join(known)}"
        for name in sections
        if name not in known
    ]
    for section in SECTIONS:
        try:
            load(section, path)
        except ConfigError as error:
            problems.append(str(error))
    if not problems:
        problems = find_conflicts(load(Train, path), path)
    if problems:
        raise ConfigError("\n".join(problems))


def find_conflicts(train: Train, path: Path) -> list[str]:
    """Return the problems of values that are valid alone, and would otherwise stop the training when it starts."""
    if train.weights is None:
        return []
    if train.architecture in BASELINES:
        reason = f"{train.architecture!r} has no pretrained weights; expected null"
    elif train.weights != "imagenet" and not Path(train.weights).is_file():
        reason = "no such file; expected imagenet, a .pth file or null"
    else:
        return []
    return [f"{path}, section 'train': weights: {reason} (got {train.weights!r})"]


def read_sections(path: Path) -> dict[str, Any]:
    try:
        sections = yaml.load(path.read_text(), yaml.CSafeLoader)  # 1 ms instead of 12 for params.yaml
    except (OSError, yaml.YAMLError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from None
    if not isinstance(sections, dict):
        raise ConfigError(f"{path} is {sections!r}; expected sections with keys")
    return sections


def load(section: type[Section], path: Path = PARAMS) -> Section:
    """Read the section that has the name of the class, in lower case. Raise `ConfigError` if it is invalid."""
    name = section.__name__.lower()
    values = read_sections(path).get(name)
    try:
        return TypeAdapter(section).validate_python(values)
    except ValidationError as error:
        keys = [field.name for field in fields(section)]  # type: ignore[arg-type]  # every section is a dataclass
        problems = "; ".join(describe(name, problem, keys) for problem in error.errors())
        raise ConfigError(f"{path}, section {name!r}: {problems}") from None


def describe(section: str, problem: Any, keys: list[str]) -> str:
    """Describe one of pydantic's errors: the key, what is wrong, and the value or the key that was probably meant."""
    key = ".".join(map(str, problem["loc"])) or section
    if new := RENAMED.get(f"{section}.{key}"):
        return f"{key}: was renamed; write {new.split('.')[1]} instead (got {problem['input']!r})"
    if problem["type"] == "missing":
        return f"{key}: this key is missing; restore it with its value from the repository's params.yaml"
    hint = suggest(key, keys) if problem["type"] == "unexpected_keyword_argument" else ""
    return f"{key}: {problem['msg']}{hint} (got {problem['input']!r})"


def suggest(name: str, known: Iterable[str]) -> str:
    matches = get_close_matches(name, list(known), n=1)
    return f"; did you mean {matches[0]!r}?" if matches else ""


def flatten(*sections: Any) -> dict[str, Any]:
    """Return the sections as `section.key: value`, for logging."""
    pairs = ((type(s).__name__.lower(), asdict(s)) for s in sections)
    return {f"{name}.{key}": value for name, values in pairs for key, value in values.items()}


if __name__ == "__main__":
    main()
