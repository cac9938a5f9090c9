"""Print the version that an environment's URL calls, or 0 before the first deployment.

    python -m infra.aws.serving dev

`make deploy` records this version in the stack, and `make back` returns to it. While a split runs, this fails, and so
does the deployment: CodeDeploy would replace the split's weights, and the comparison would lose its champion.
"""

import sys

from botocore.exceptions import BotoCoreError, ClientError

from infra.aws.deployed import DeploymentError, describe_stack, stack_and_region
from infra.aws.stack import NO_VERSION, Stack


def main(environment: str) -> None:
    if not describe_stack(*stack_and_region(environment)):
        print(NO_VERSION)
        return
    stack = Stack.read(environment)
    try:
        if split := stack.read_split():
            raise DeploymentError(
                f"{stack.name}: {split}; a deployment would replace this split. End it first: "
                f"{stack.command('split', 'SHARE=0')}"
            )
        print(stack.serving_version())
    except (BotoCoreError, ClientError) as error:
        raise SystemExit(f"{stack.name}: the version that {stack.function} serves: {error}") from None


if __name__ == "__main__":
    main(sys.argv[1] if sys.argv[1:] else "")
