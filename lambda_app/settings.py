"""Read the settings from environment variables once, at start; an invalid value stops the start."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from lambda_app.preprocess import MAX_PIXELS

BUCKET_URL = re.compile(r"s3://([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])/?")
OPTIONAL_ROUTES = ("/metrics", "/model/info", "/prediction-log")


def _public_routes(value: str) -> str:
    """Return the routes without surrounding spaces. Raise `ValueError` if a route is not optional."""
    routes = [route.strip() for route in value.split(",")] if value.strip() else []
    if not set(routes) <= set(OPTIONAL_ROUTES):
        raise ValueError(f"expected some of {','.join(OPTIONAL_ROUTES)}, separated by commas, or nothing")
    return ",".join(routes)


def _contributions(value: str) -> str:
    """Return the location of contributed photos. Raise `ValueError` if it is neither a bucket nor a writable folder."""
    is_bucket = BUCKET_URL.fullmatch(value)
    if value and not is_bucket and not (Path(value).is_dir() and os.access(value, os.W_OK)):
        raise ValueError("expected s3://BUCKET, an existing folder that this process can write to, or nothing")
    return value


class SettingsError(ValueError):
    """An environment variable has an invalid value."""


class Settings(BaseModel):
    """Settings of the function; each field is read from the environment variable of its name in upper case."""

    model_config = ConfigDict(frozen=True)

    model_path: Path = Field(
        default=Path(__file__).with_name("model.onnx"), description="the model file; another one can be mounted"
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        default="INFO", description="INFO writes one line per request, WARNING only failures"
    )
    max_image_bytes: int = Field(
        default=4_500_000,
        gt=0,
        description="bytes of a photo; a function URL accepts 6 MB after base64, which is 4.5 MB",
    )
    max_image_pixels: int = Field(
        default=MAX_PIXELS,
        gt=0,
        description="width x height of a photo; one that needs over 500 MB or 2 s to decode is rejected even below it",
    )
    max_batch: int = Field(
        default=16,
        gt=0,
        le=100,  # CloudWatch accepts 100 values of a metric per EMF line
        description="photos per request; 16 photos of 280 kB fill 4.5 MB",
    )
    service_name: str = Field(
        default="pet-classifier",
        min_length=1,
        description="the service in logs and metrics; a deployment sets the name of its stack",
    )
    public_routes: Annotated[str, AfterValidator(_public_routes)] = Field(
        default=",".join(OPTIONAL_ROUTES),
        description="which of these routes exist; empty for none, for example behind a public URL",
    )
    contributions: Annotated[str, AfterValidator(_contributions)] = Field(
        default="", description="where to store contributed photos: s3://BUCKET or a folder; empty to accept none"
    )
    contributions_per_hour: int = Field(
        default=100, gt=0, description="contributed photos that an instance accepts within an hour"
    )
    image: str = Field(default="", description="the container image with its digest, set by the deployment")
    commit: str = Field(default="", description="the Git commit that the image was built from, set by the deployment")

    @classmethod
    def from_env(cls, environ: Mapping[str, str] = os.environ) -> Self:
        """Return the settings. Raise `SettingsError` with the variable, its value and what was expected."""
        values = {name: environ[name.upper()] for name in cls.model_fields if name.upper() in environ}
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise SettingsError("; ".join(map(_describe_problem, error.errors()))) from None


def _describe_problem(problem: Mapping[str, Any]) -> str:
    name = problem["loc"][0].upper()
    if problem["type"] == "missing":  # the input of a missing field is the dictionary of all others
        return f"{name} is not set"
    return f"{name} is {problem['input']!r}: {problem['msg'].removeprefix('Value error, ')}"
