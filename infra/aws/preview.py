"""Describe the changes of a deployment as Markdown, without deploying."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from botocore.exceptions import WaiterError

from infra import ROOT
from infra.aws.stack import DeploymentError, Stack, is_without_changes, load_parameters
from infra.markdown import table

TEMPLATE = ROOT / "template.yaml"
WAIT = {"Delay": 2, "MaxAttempts": 150}  # 5 minutes
PER_DEPLOYMENT = ("ImageUri", "Commit")


def preview(environment: str, image: str, commit: str, template: Path = TEMPLATE) -> str:
    """Return image, commit, changed parameters, and the changed resources of CloudFormation's change set as Markdown.

    For a new stack, list only the parameters, because it has no change set.
    """
    heading = f"## {environment}: what this deployment changes"
    new = load_parameters(environment) | {"ImageUri": image, "Commit": commit}
    stack = Stack.find(environment)
    if not stack:
        return f"{heading}\n\nThe stack is new.\n\n{_parameters({}, new)}"
    changes = _changes(stack, new, template.read_text())
    return f"{heading}\n\n{_parameters(stack.parameters, new)}\n\n{_resources(changes)}"


def _parameters(old: dict[str, str], new: dict[str, str]) -> str:
    """Return a table of the changed parameters, and always of image and commit."""
    names = [name for name in new if name in PER_DEPLOYMENT or old.get(name) != new[name]]
    rows = [(name, _cell(old.get(name, "")), _cell(new[name])) for name in names]
    return table(("parameter", "old", "new"), rows)


def _cell(value: str) -> str:
    return f"`{value}`" if value else "(empty)"


def _resources(changes: list[dict[str, Any]]) -> str:
    rows = [
        (change["LogicalResourceId"], change["ResourceType"], change["Action"], change.get("Replacement", ""))
        for change in (each["ResourceChange"] for each in changes)
    ]
    return table(("resource", "type", "action", "replacement"), rows) if rows else "No resource changes."


def _changes(stack: Stack, new: dict[str, str], template: str) -> list[dict[str, Any]]:
    """Return the resource changes that CloudFormation finds. Delete the change set without executing it."""
    client, name = stack.client("cloudformation"), f"preview-{datetime.now(UTC):%Y%m%d%H%M%S}"
    client.create_change_set(
        StackName=stack.name,
        ChangeSetName=name,
        TemplateBody=template,
        Parameters=[
            *({"ParameterKey": key, "ParameterValue": value} for key, value in (new | {"Release": "preview"}).items()),
            {"ParameterKey": "PreviousVersion", "UsePreviousValue": True},
        ],
        Capabilities=["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"],
        ChangeSetType="UPDATE",
    )
    try:
        client.get_waiter("change_set_create_complete").wait(
            StackName=stack.name, ChangeSetName=name, WaiterConfig=WAIT
        )
        pages = client.get_paginator("describe_change_set").paginate(StackName=stack.name, ChangeSetName=name)
        return [change for page in pages for change in page["Changes"]]
    except WaiterError as error:
        if is_without_changes(error):
            return []
        reason = error.last_response.get("StatusReason", str(error))
        raise DeploymentError(f"{stack.name}: no change set: {reason}") from None
    finally:
        client.delete_change_set(StackName=stack.name, ChangeSetName=name)
