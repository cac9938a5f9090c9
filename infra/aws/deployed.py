"""Print image, commit, authentication, CORS origin and URL of a deployed environment as NAME=VALUE lines.

The values are empty before the first deployment.

    python -m infra.aws.deployed dev
"""

import sys
import tomllib
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError
from botocore.session import Session

SAMCONFIG = Path(__file__).parents[2] / "samconfig.toml"
# Output names, and the parameters and outputs of template.yaml that hold their values.
SHOWN = {"image_uri": "ImageUri", "commit": "Commit", "auth": "UrlAuthType", "origin": "CorsOrigin", "url": "Url"}
NEVER_DEPLOYED = {"CREATE_FAILED", "DELETE_COMPLETE", "REVIEW_IN_PROGRESS", "ROLLBACK_COMPLETE", "ROLLBACK_FAILED"}


class DeploymentError(SystemExit):
    """AWS returned an error, or the environment does not allow the command. The message names the stack."""


def main(environment: str) -> None:
    stack = describe_stack(*stack_and_region(environment))
    values = {entry["OutputKey"]: entry["OutputValue"] for entry in stack.get("Outputs", [])}
    values |= {entry["ParameterKey"]: entry["ParameterValue"] for entry in stack.get("Parameters", [])}
    print(*(f"{name}={values.get(key, '')}" for name, key in SHOWN.items()), sep="\n")


def stack_and_region(environment: str) -> tuple[str, str]:
    """Return the stack name and the region of an environment. Raise `DeploymentError` if samconfig.toml lacks it."""
    config = tomllib.loads(SAMCONFIG.read_text())
    environments = [name for name, commands in config.items() if isinstance(commands, dict)]
    if environment not in environments:
        raise DeploymentError(f"ENV={environment}: expected one of {', '.join(environments)}, as in {SAMCONFIG.name}")
    parameters = config[environment]["global"]["parameters"]
    return parameters["stack_name"], parameters["region"]


def describe_stack(name: str, region: str) -> dict[str, Any]:
    """Return CloudFormation's description of a stack, or an empty dict if it was never deployed.

    Raise `DeploymentError` if AWS returns another error.
    """
    try:
        client = Session().create_client("cloudformation", region_name=region)
        stack: dict[str, Any] = client.describe_stacks(StackName=name)["Stacks"][0]
    except (BotoCoreError, ClientError) as error:
        if "does not exist" in str(error):
            return {}
        raise DeploymentError(f"stack {name} in {region}: {error}") from None
    return {} if stack["StackStatus"] in NEVER_DEPLOYED else stack


if __name__ == "__main__":
    main(sys.argv[1] if sys.argv[1:] else "")
