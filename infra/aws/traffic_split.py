"""Start or end a split, which sends a share of the traffic to a challenger version for days.

A split changes only the weights of the alias. The alias keeps the version that CloudFormation and CodeDeploy recorded,
the champion, so ending the split restores the previous state. A deployment would replace the weights, so `make deploy`
refuses while a split runs.
"""

import argparse
from datetime import UTC, datetime, timedelta
from typing import Any

from infra.aws.stack import ALIAS, DeploymentError, Split, Stack, parse_version

MAX_SHARE = 40  # percent; the report identifies the champion by its larger share, so the shares must clearly differ


def start_split(stack: Stack, version: str, share: int) -> None:
    """Send `share` percent of the requests to `version`. Raise `DeploymentError` if stack or version is not ready."""
    stack.require_idle()
    version, alias = parse_version(stack, version), stack.read_alias()
    current = Split.of(alias)
    if version == alias["FunctionVersion"]:
        raise DeploymentError(f"VERSION={version}: this version already serves; expected another one, the challenger")
    if current:  # after a change of the share, the versions would have different proportions of each day's traffic
        raise DeploymentError(f"{stack.name}: {current}; end this split first: {stack.command('split', 'SHARE=0')}")
    if (provisioned := stack.parameters.get("ProvisionedConcurrency", "0")) != "0":
        raise DeploymentError(
            f"{stack.name}: ProvisionedConcurrency is {provisioned}; expected 0, because it warms only one version and "
            "cannot change during a split"
        )
    _require_active(stack, version)
    _set_weights(stack, alias, {version: share / 100})
    since = datetime.now(UTC) - timedelta(days=1)
    days = stack.parameters.get("LogRetentionDays", "unknown")
    print(
        f"{stack.name}: {share} % of the traffic goes to version {version}, the rest to {alias['FunctionVersion']}.\n"
        f"Compare them: make report SOURCE={stack.outputs['LogGroup']} SINCE={since:%Y-%m-%d}\n"
        f"The comparison can use at most {days} days, because the log keeps no more (LogRetentionDays).\n"
        f"End the split: {stack.command('split', 'SHARE=0')}"
    )


def end_split(stack: Stack) -> None:
    """Send all requests to the version that the stack records. Without a split, change nothing."""
    stack.require_idle()
    alias = stack.read_alias()
    current = Split.of(alias)
    if current:
        _set_weights(stack, alias, {})
    change = f"ended the split with version {current.version}" if current else "no split is running"
    print(f"{stack.name}: {change}; all traffic goes to version {alias['FunctionVersion']}")


def _require_active(stack: Stack, version: str) -> None:
    """Raise `DeploymentError` if the version is inactive, because the first requests to it would fail.

    Lambda deactivates a version after weeks without an invocation.
    """
    configuration = stack.client("lambda").get_function_configuration(FunctionName=stack.function, Qualifier=version)
    if (state := configuration.get("State", "Active")) != "Active":
        raise DeploymentError(
            f"VERSION={version}: its state is {state}; expected Active. Invoke it, wait a minute, and try again: "
            f"aws lambda invoke --function-name {stack.function} --qualifier {version} /dev/null"
        )


def _set_weights(stack: Stack, alias: dict[str, Any], weights: dict[str, float]) -> None:
    """Set the weights. `RevisionId` makes Lambda reject the call if the alias has changed since it was read."""
    stack.client("lambda").update_alias(
        FunctionName=stack.function,
        Name=ALIAS,
        RoutingConfig={"AdditionalVersionWeights": weights},
        RevisionId=alias["RevisionId"],
    )


def parse_percent(text: str) -> int:
    """Return the percentage. Raise `ArgumentTypeError` if it is not a whole number from 0 to `MAX_SHARE`."""
    if not text.isdecimal() or int(text) > MAX_SHARE:
        raise argparse.ArgumentTypeError(f"SHARE={text}: expected a whole number of percent from 0 to {MAX_SHARE}")
    return int(text)
