"""Roll back to the previous version, or turn the URL and the batch function off and on, in seconds."""

import json
import re
from datetime import UTC, datetime
from typing import Any

from botocore.exceptions import WaiterError

from infra.aws.stack import (
    ALIAS,
    NO_VERSION,
    UNRESERVED,
    DeploymentError,
    Stack,
    choose_rollback_version,
    is_without_changes,
)
from infra.aws.traffic_split import end_split

WAIT = {"Delay": 2, "MaxAttempts": 450}  # 15 minutes
COMMIT = re.compile(r"[0-9a-f]{40}")


def roll_back_version(stack: Stack, version: str = "") -> None:
    """Roll back: move all traffic to the previous version, then record it in the stack together with its image.

    Move the alias first, because this takes effect at once. The stack follows, because CodeDeploy refuses the next
    deployment while the alias is not at the version that CloudFormation recorded. During a split, a call without
    `version` only ends the split.
    """
    stack.require_idle()
    if not version and stack.read_split():
        end_split(stack)
        print(f"For the version before the last deployment, run this again: {stack.command('back')}")
        return
    version, client = choose_rollback_version(stack, version), stack.client("lambda")
    target = client.get_function_configuration(FunctionName=stack.function, Qualifier=version)
    client.update_alias(
        FunctionName=stack.function,
        Name=ALIAS,
        FunctionVersion=version,
        RoutingConfig={"AdditionalVersionWeights": {}},
    )
    print(f"{stack.name}: {ALIAS} is at version {version}; now recording it in the stack", flush=True)
    description = target.get("Description", "")
    changed = {
        "ImageUri": target["Environment"]["Variables"]["IMAGE"],
        "Commit": description if COMMIT.fullmatch(description) else "",
        "PreviousVersion": NO_VERSION,
    }
    _update(stack, _template_at(stack, version), changed)
    print(f"{stack.name}: version {version}, {changed['ImageUri']}, commit {changed['Commit'] or 'not recorded'}")


def _template_at(stack: Stack, version: str) -> dict[str, Any]:
    """Return the deployed template with the alias at `version`, which CloudFormation moves instead of CodeDeploy.

    The published version keeps its description, because a new description would publish a new version.
    """
    template: dict[str, Any] = stack.client("cloudformation").get_template(
        StackName=stack.name, TemplateStage="Processed"
    )["TemplateBody"]
    for resource in template["Resources"].values():
        if resource["Type"] == "AWS::Lambda::Alias":
            resource.pop("UpdatePolicy", None)
            resource["Properties"]["FunctionVersion"] = version
        is_version = resource["Type"] == "AWS::Lambda::Version"
        if is_version and resource["Properties"].get("Description") == {"Ref": "Commit"}:
            resource["Properties"]["Description"] = stack.parameters["Commit"]
    return template


def _update(stack: Stack, template: dict[str, Any], changed: dict[str, str]) -> None:
    """Update the stack without its automatic rollback, which would move the alias forward again."""
    client, name = stack.client("cloudformation"), f"back-{datetime.now(UTC):%Y%m%d%H%M%S}"
    client.create_change_set(
        StackName=stack.name,
        ChangeSetName=name,
        ChangeSetType="UPDATE",
        TemplateBody=json.dumps(template, separators=(",", ":")),
        Parameters=[
            {"ParameterKey": key, "ParameterValue": changed[key]}
            if key in changed
            else {"ParameterKey": key, "UsePreviousValue": True}
            for key in template["Parameters"]
        ],
        Capabilities=["CAPABILITY_IAM"],
    )
    try:
        client.get_waiter("change_set_create_complete").wait(
            StackName=stack.name, ChangeSetName=name, WaiterConfig=WAIT
        )
        client.execute_change_set(StackName=stack.name, ChangeSetName=name, DisableRollback=True)
        client.get_waiter("stack_update_complete").wait(StackName=stack.name, WaiterConfig=WAIT)
    except WaiterError as error:
        if is_without_changes(error):
            return
        raise DeploymentError(
            f"{stack.name}: the alias moved, but the stack update failed: {error}. Find the reason in "
            f"`aws cloudformation describe-stack-events --stack-name {stack.name}`, then run the command again"
        ) from None


def turn_off(stack: Stack) -> None:
    """Refuse all requests with 429 and stop the batch function from taking messages; they stay in the queue."""
    _reserve(stack, "0")
    _enable_batch(stack, enabled=False)
    print(f"{stack.name}: off. Turn it on again: {stack.command('on')}. Deployments fail until then")


def turn_on(stack: Stack) -> None:
    """Restore the stack's own concurrency and let the batch function take messages again."""
    _reserve(stack, stack.parameters["ReservedConcurrency"])
    _enable_batch(stack, enabled=True)
    split = stack.read_split()
    print(f"{stack.name}: on{f'; {split}' if split else ''}")


def _reserve(stack: Stack, reserved: str) -> None:
    client = stack.client("lambda")
    if reserved == UNRESERVED:
        client.delete_function_concurrency(FunctionName=stack.function)
    else:
        client.put_function_concurrency(FunctionName=stack.function, ReservedConcurrentExecutions=int(reserved))


def _enable_batch(stack: Stack, *, enabled: bool) -> None:
    if source := stack.outputs.get("BatchEventSource"):
        stack.client("lambda").update_event_source_mapping(UUID=source, Enabled=enabled)
