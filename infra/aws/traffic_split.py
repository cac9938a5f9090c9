"""Keep a share of the traffic on a challenger version for days, beside the version that the stack records, or end this.

python -m infra.aws.traffic_split prod --version 42 --share 10
python -m infra.aws.traffic_split prod --share 0

Only the weights of the alias change. Its version stays the one that CloudFormation and CodeDeploy recorded, so ending
the split leaves nothing behind. A deployment would replace the weights, so `make deploy` refuses while a split runs.
"""

import argparse
import sys
from datetime import UTC, datetime, timedelta
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from infra.aws.deployed import NotKnown
from infra.aws.stack import ALIAS, Stack, parse_version

MAX_SHARE = 40  # percent; the report takes the version with more traffic as the champion, and near 50 it could not tell
NO_PROVISIONED = "0"


def main(arguments: list[str] | None = None) -> None:
    options = _parser().parse_args(arguments)
    try:
        stack = Stack.read(options.environment)
        if options.share:
            start_split(stack, options.version, options.share)
        else:
            end_split(stack)
    except (BotoCoreError, ClientError) as error:
        raise SystemExit(f"split {options.environment}: {error}") from None


def start_split(stack: Stack, version: str, share: int) -> None:
    """Send `share` percent of the requests to `version`. Raise `NotKnown` if the stack or the version is not ready."""
    stack.require_idle()
    version, alias = parse_version(stack, version), stack.read_alias()
    running = stack.read_split()
    if version == alias["FunctionVersion"]:
        raise NotKnown(f"VERSION={version}: it already serves; expected another version, the challenger")
    if running:  # at another share, the versions would see the traffic of different days
        raise NotKnown(f"{stack.name}: {running}; end this split first: {stack.command('split', 'SHARE=0')}")
    if stack.parameters.get("ProvisionedConcurrency", NO_PROVISIONED) != NO_PROVISIONED:
        raise NotKnown(
            f"{stack.name}: ProvisionedConcurrency warms only one version and cannot change during a split; "
            f"expected {NO_PROVISIONED}"
        )
    _require_active(stack, version)
    _set_weights(stack, alias, {version: share / 100})
    since = datetime.now(UTC) - timedelta(days=1)
    days = stack.parameters.get("LogRetentionDays", "unknown")
    print(
        f"{stack.name}: {share} % of the traffic goes to version {version}, the rest to {alias['FunctionVersion']}.\n"
        f"Compare them: make report SOURCE={stack.outputs['LogGroup']} SINCE={since:%Y-%m-%d}\n"
        f"The log keeps {days} days (LogRetentionDays), so the comparison can use no more.\n"
        f"End the split: {stack.command('split', 'SHARE=0')}"
    )


def end_split(stack: Stack) -> None:
    """Send all requests to the version that the stack records. Without a split, do nothing."""
    stack.require_idle()
    running, alias = stack.read_split(), stack.read_alias()
    if running:
        _set_weights(stack, alias, {})
    ended = f"ended the split with version {running.version}" if running else "no split runs"
    print(f"{stack.name}: {ended}; all traffic goes to version {alias['FunctionVersion']}")


def _require_active(stack: Stack, version: str) -> None:
    """Lambda deactivates versions that nothing has invoked for weeks; the first requests after that fail."""
    found = stack.client("lambda").get_function_configuration(FunctionName=stack.function, Qualifier=version)
    if (state := found.get("State", "Active")) != "Active":
        raise NotKnown(
            f"VERSION={version}: its state is {state}; expected Active. Invoke it, wait a minute, and try again: "
            f"aws lambda invoke --function-name {stack.function} --qualifier {version} /dev/null"
        )


def _set_weights(stack: Stack, alias: dict[str, Any], weights: dict[str, float]) -> None:
    """Change the weights. The revision makes Lambda reject the call if the alias has changed since it was read."""
    stack.client("lambda").update_alias(
        FunctionName=stack.function,
        Name=ALIAS,
        RoutingConfig={"AdditionalVersionWeights": weights},
        RevisionId=alias["RevisionId"],
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m infra.aws.traffic_split", description=__doc__)
    parser.add_argument("environment")
    parser.add_argument("--version", default="", help="the challenger; required unless the share is 0")
    parser.add_argument("--share", type=_parse_share, required=True, help="percent of the traffic; 0 ends the split")
    return parser


def _parse_share(text: str) -> int:
    if not text.isdecimal() or int(text) > MAX_SHARE:
        raise argparse.ArgumentTypeError(f"SHARE={text}: expected a whole number of percent from 0 to {MAX_SHARE}")
    return int(text)


if __name__ == "__main__":
    main(sys.argv[1:])
