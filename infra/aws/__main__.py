"""Operate the deployed environments. The make targets with the same names call these commands.

`make deploy` calls `live-version`, and `make edge` calls `host`.

    python -m infra.aws deployed dev
    python -m infra.aws preview prod --image REPOSITORY@sha256:DIGEST --commit SHA
    python -m infra.aws back prod --version 41
    python -m infra.aws split prod --version 42 --share 10

Exits with 1 if a call to AWS fails, or if the environment or the version is invalid or does not allow the command.
Exits with 2 if the command line cannot be parsed.
"""

import argparse
import sys

from botocore.exceptions import BotoCoreError, ClientError

from infra.aws.emergency import roll_back_version, turn_off, turn_on
from infra.aws.preview import preview
from infra.aws.stack import DeploymentError, Stack, read_host, read_live_version, read_values
from infra.aws.traffic_split import end_split, parse_percent, start_split

HELP = {
    "deployed": "print image, commit, previous version, authentication, CORS origin and URL as NAME=VALUE lines",
    "live-version": "print the version that the URL calls",
    "host": "print the host of the private function URL",
    "preview": "print the changes of a deployment as Markdown",
    "back": "roll back",
    "off": "refuse all requests and stop the batch",
    "on": "turn the environment on again",
    "split": "send a share of the traffic to a challenger",
}


def main(arguments: list[str] | None = None) -> int:
    options = parse_arguments(arguments)
    try:
        run(options)
    except (BotoCoreError, ClientError, DeploymentError) as error:
        print(f"{options.command} {options.environment}: {error}", file=sys.stderr)
        return 1
    return 0


def run(options: argparse.Namespace) -> None:
    """Run a command. Raise `DeploymentError`, `BotoCoreError` or `ClientError` if it fails."""
    match options.command:
        case "deployed":
            print(read_values(options.environment))
        case "live-version":
            print(read_live_version(options.environment))
        case "host":
            print(read_host(options.environment))
        case "preview":
            print(preview(options.environment, options.image, options.commit))
        case "back":
            roll_back_version(Stack.read(options.environment), options.version)
        case "off":
            turn_off(Stack.read(options.environment))
        case "on":
            turn_on(Stack.read(options.environment))
        case "split" if options.share:
            start_split(Stack.read(options.environment), options.version, options.share)
        case "split":
            end_split(Stack.read(options.environment))


def parse_arguments(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m infra.aws", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    added = {name: commands.add_parser(name, help=text, description=text) for name, text in HELP.items()}
    for command in added.values():
        command.add_argument("environment")
    added["preview"].add_argument("--image", required=True)
    added["preview"].add_argument("--commit", required=True)
    added["back"].add_argument("--version", default="", help="default: the version before the last deployment")
    split = added["split"]
    split.add_argument("--version", default="", help="the challenger; required unless the share is 0")
    split.add_argument("--share", type=parse_percent, required=True, help="percent of the traffic; 0 ends the split")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
