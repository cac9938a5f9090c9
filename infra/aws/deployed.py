"""What an environment of samconfig.toml runs: image, commit, URL and who may call it, as NAME=VALUE lines.

Without a stack the values are empty.

    python -m infra.aws.deployed dev
"""

import sys
import tomllib
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError
from botocore.session import Session

SAMCONFIG = Path(__file__).parents[2] / "samconfig.toml"
# Parameters and outputs of template.yaml.
SHOWN = {"image_uri": "ImageUri", "commit": "Commit", "auth": "UrlAuthType", "origin": "CorsOrigin", "url": "Url"}


NEVER_RAN = {"CREATE_FAILED", "DELETE_COMPLETE", "REVIEW_IN_PROGRESS", "ROLLBACK_COMPLETE", "ROLLBACK_FAILED"}


class NotKnown(SystemExit):
    """There is no such environment, or AWS does not say; the message names it."""


def main(environment: str) -> None:
    stack = described(*stack_and_region(environment))
    values = {entry["OutputKey"]: entry["OutputValue"] for entry in stack.get("Outputs", [])}
    values |= {entry["ParameterKey"]: entry["ParameterValue"] for entry in stack.get("Parameters", [])}
    print(*(f"{name}={values.get(key, '')}" for name, key in SHOWN.items()), sep="\n")


def stack_and_region(environment: str) -> tuple[str, str]:
    config = tomllib.loads(SAMCONFIG.read_text())
    environments = [name for name, commands in config.items() if isinstance(commands, dict)]
    if environment not in environments:
        raise NotKnown(f"ENV={environment}: expected one of {', '.join(environments)}, as in {SAMCONFIG.name}")
    parameters = config[environment]["global"]["parameters"]
    return parameters["stack_name"], parameters["region"]


def described(name: str, region: str) -> dict[str, Any]:
    """The stack as CloudFormation describes it; nothing where there is none, or none that ever ran. Raises NotKnown."""
    try:
        client = Session().create_client("cloudformation", region_name=region)
        stack: dict[str, Any] = client.describe_stacks(StackName=name)["Stacks"][0]
    except (BotoCoreError, ClientError) as error:
        if "does not exist" in str(error):
            return {}
        raise NotKnown(f"stack {name} in {region}: {error}") from None
    return {} if stack["StackStatus"] in NEVER_RAN else stack


if __name__ == "__main__":
    main(sys.argv[1] if sys.argv[1:] else "")
