"""Load the parameters of template.yaml that `make deploy` passes for an environment."""

from pathlib import Path

import yaml

FOLDER = Path(__file__).parent


def load_parameters(environment: str) -> dict[str, str]:
    """Return defaults.yaml overridden by ENVIRONMENT.yaml, as the strings that SAM CLI sends to CloudFormation."""
    values: dict[str, object] = {}
    for name in ("defaults", environment):
        values |= yaml.safe_load((FOLDER / f"{name}.yaml").read_text())
    return {name: "" if value is None else str(value) for name, value in values.items()}
