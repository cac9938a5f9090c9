"""Print the version that an environment's URL calls, or 0 before the first deployment.

    python -m infra.aws.serving dev

`make deploy` records it in the stack, for `make back` to return to.
"""

import sys

from infra.aws.stack import NO_VERSION, Stack
from infra.deployed import described, stack_and_region


def main(environment: str) -> None:
    exists = bool(described(*stack_and_region(environment)))
    print(Stack.read(environment).serving_version() if exists else NO_VERSION)


if __name__ == "__main__":
    main(sys.argv[1] if sys.argv[1:] else "")
