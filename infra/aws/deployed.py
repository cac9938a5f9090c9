"""Print what an environment runs, for make targets and workflows.

    python -m infra.aws.deployed dev
    python -m infra.aws.deployed dev --live-version
    python -m infra.aws.deployed dev --host

Without an option, prints image, commit, authentication, CORS origin and URL as NAME=VALUE lines. The values are empty
before the first deployment.
"""

import argparse
import sys
from urllib.parse import urlsplit

from botocore.exceptions import BotoCoreError, ClientError

from infra.aws.stack import NO_VERSION, DeploymentError, Stack, describe_stack, stack_and_region

# Output names, and the parameters and outputs of template.yaml that hold their values.
SHOWN = {"image_uri": "ImageUri", "commit": "Commit", "auth": "UrlAuthType", "origin": "CorsOrigin", "url": "Url"}


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m infra.aws.deployed",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("environment")
    option = parser.add_mutually_exclusive_group()
    option.add_argument("--live-version", action="store_true", help="print the version that the URL calls")
    option.add_argument("--host", action="store_true", help="print the host of the private function URL")
    options = parser.parse_args(arguments)
    read = read_live_version if options.live_version else read_host if options.host else read_values
    try:
        print(read(options.environment))
    except (BotoCoreError, ClientError) as error:
        raise SystemExit(f"ENV={options.environment}: {error}") from None


def read_values(environment: str) -> str:
    """Return the values as NAME=VALUE lines."""
    stack = describe_stack(*stack_and_region(environment))
    values = {entry["OutputKey"]: entry["OutputValue"] for entry in stack.get("Outputs", [])}
    values |= {entry["ParameterKey"]: entry["ParameterValue"] for entry in stack.get("Parameters", [])}
    return "\n".join(f"{name}={values.get(key, '')}" for name, key in SHOWN.items())


def read_live_version(environment: str) -> str:
    """Return the version that the URL calls, or 0 before the first deployment. Raise `DeploymentError` during a split.

    `make deploy` records this version in the stack, and `make back` returns to it. During a split, CodeDeploy would
    replace the split's weights, and the comparison would lose its champion.
    """
    if not describe_stack(*stack_and_region(environment)):
        return NO_VERSION
    stack = Stack.read(environment)
    if split := stack.read_split():
        raise DeploymentError(
            f"{stack.name}: {split}; a deployment would replace this split. End it first: "
            f"{stack.command('split', 'SHARE=0')}"
        )
    return stack.serving_version()


def read_host(environment: str) -> str:
    """Return the host of the function URL. Raise `DeploymentError` for a public URL: clients could bypass the edge."""
    stack = Stack.read(environment)
    auth = stack.parameters["UrlAuthType"]
    if auth != "AWS_IAM":
        raise DeploymentError(
            f"{stack.name}: UrlAuthType is {auth}; expected AWS_IAM, because clients can call a public URL directly"
        )
    return urlsplit(stack.outputs["Url"]).hostname or ""


if __name__ == "__main__":
    main(sys.argv[1:])
