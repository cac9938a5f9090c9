"""Print the host of an environment's private function URL, for `make edge`. Fail if the URL is public.

python -m infra.aws.edge dev
"""

import sys
from urllib.parse import urlsplit

from botocore.exceptions import BotoCoreError, ClientError

from infra.aws.deployed import DeploymentError
from infra.aws.stack import Stack


def read_function_domain(stack: Stack) -> str:
    """Return the host of the function URL. Raise `DeploymentError` for a public URL: clients could bypass the edge."""
    auth = stack.parameters["UrlAuthType"]
    if auth != "AWS_IAM":
        raise DeploymentError(
            f"{stack.name}: UrlAuthType is {auth}; expected AWS_IAM, because clients can call a public URL directly"
        )
    return urlsplit(stack.outputs["Url"]).hostname or ""


def main(environment: str) -> None:
    try:
        print(read_function_domain(Stack.read(environment)))
    except (BotoCoreError, ClientError) as error:
        raise SystemExit(f"edge {environment}: {error}") from None


if __name__ == "__main__":
    main(sys.argv[1])
