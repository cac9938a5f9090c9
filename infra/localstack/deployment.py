"""Deploy template.yaml to LocalStack, without its functions if LocalStack cannot run them."""

import json
import os
import re
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from botocore.exceptions import WaiterError

from infra import ROOT

STACK = "pet-classifier"
REGION = "us-east-1"
CAPABILITIES = ["CAPABILITY_IAM", "CAPABILITY_NAMED_IAM"]
WAIT = {"Delay": 1, "MaxAttempts": 120}


class DeploymentFailed(Exception):
    """The stack could not be created; the message names the resource and CloudFormation's reason."""


@dataclass(frozen=True)
class Deployment:
    resources: dict[str, str]  # logical to physical IDs
    outputs: dict[str, str]
    recorded: list[str]  # the resource types that LocalStack records without creating them
    left_out: list[str]  # the logical IDs of functions and of resources that depend on them
    reason: str  # why they were left out; empty if none was


def deploy(cloudformation: Any, parameters: Mapping[str, str]) -> Deployment:
    """Deploy the stack, or all but its functions if a function fails. Raise `DeploymentFailed` for other failures."""
    whole = transform_template(parameters)
    failure = _create(cloudformation, STACK, whole, parameters)
    if not failure:
        return _describe(cloudformation, STACK, [], "")
    if not failure["ResourceType"].startswith("AWS::Lambda::"):
        raise DeploymentFailed(_describe_failure(failure))
    # Another name, because LocalStack 4.14 cannot delete the failed stack without its function.
    rest, name = without_functions(whole), f"{STACK}-rest"
    if another := _create(cloudformation, name, rest, parameters):
        raise DeploymentFailed(_describe_failure(another))
    left_out = sorted(whole["Resources"].keys() - rest["Resources"].keys())
    return _describe(cloudformation, name, left_out, _describe_failure(failure))


def transform_template(parameters: Mapping[str, str]) -> dict[str, Any]:
    """Return the template after the transformation that `sam deploy` applies."""
    python = ROOT / ".venv-sam/bin/python"
    assignments = [f"{name}={value}" for name, value in parameters.items()]
    command: list[str | Path] = [python, "-m", "infra.aws.translate", "template.yaml", *assignments]
    environment = os.environ | {"AWS_DEFAULT_REGION": REGION}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise DeploymentFailed(f"template.yaml: {done.stderr.strip().splitlines()[-1]}")
    template: dict[str, Any] = json.loads(done.stdout)
    return template


def _create(
    cloudformation: Any, name: str, template: dict[str, Any], parameters: Mapping[str, str]
) -> dict[str, Any] | None:
    """Create the stack. Return the event of the first resource that failed, or None."""
    cloudformation.create_stack(
        StackName=name,
        TemplateBody=json.dumps(template),
        Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()],
        Capabilities=CAPABILITIES,
    )
    try:
        cloudformation.get_waiter("stack_create_complete").wait(StackName=name, WaiterConfig=WAIT)
    except WaiterError as error:
        events = cloudformation.describe_stack_events(StackName=name)["StackEvents"]  # the newest first
        failed: list[dict[str, Any]] = [event for event in events if event["ResourceStatus"].endswith("_FAILED")]
        if not failed:
            raise DeploymentFailed(f"{name}: {error}") from error
        return failed[-1]
    return None


def _describe_failure(event: dict[str, Any]) -> str:
    return f"{event['LogicalResourceId']}: {event.get('ResourceStatusReason', event['ResourceStatus'])}"


def _describe(cloudformation: Any, name: str, left_out: list[str], reason: str) -> Deployment:
    found = cloudformation.describe_stack_resources(StackName=name)["StackResources"]
    [stack] = cloudformation.describe_stacks(StackName=name)["Stacks"]
    return Deployment(
        {each["LogicalResourceId"]: each["PhysicalResourceId"] for each in found},
        {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]},
        sorted({each["ResourceType"] for each in found if "is not supported" in each.get("ResourceStatusReason", "")}),
        left_out,
        reason,
    )


def without_functions(template: dict[str, Any]) -> dict[str, Any]:
    """Return the template without Lambda's resources and all resources that depend on them.

    A resource that uses only the name of a function stays, such as an alarm: a parameter replaces the name.
    """
    resources = template["Resources"]
    functions = {name for name, resource in resources.items() if resource["Type"] == "AWS::Lambda::Function"}
    removed = {name for name, resource in resources.items() if resource["Type"].startswith("AWS::Lambda::")}

    def depends_on_removed(part: dict[str, Any]) -> bool:
        targets = {reference for reference in references(part) if reference not in functions}
        return any(target.split(".")[0] in removed for target in targets)

    while more := {
        name for name, resource in resources.items() if name not in removed and depends_on_removed(resource)
    }:
        removed |= more
    names = {name: {"Type": "String", "Default": f"{STACK}-{name}"} for name in functions}
    return template | {
        "Parameters": template.get("Parameters", {}) | names,
        "Resources": {name: resource for name, resource in resources.items() if name not in removed},
        "Outputs": {
            name: output for name, output in template.get("Outputs", {}).items() if not depends_on_removed(output)
        },
    }


def references(part: Any) -> Iterator[str]:
    """Yield the references in a part of a template: `Name` (Ref), `Name.Attribute` (Fn::GetAtt), either (Fn::Sub)."""
    match part:
        case {"Ref": str(name)}:
            yield name
        case {"Fn::GetAtt": str(path)}:
            yield path
        case {"Fn::GetAtt": [*path]}:
            yield ".".join(path)
        case {"Fn::Sub": str(text) | [str(text), _]}:
            yield from re.findall(r"\$\{([\w.:]+)\}", text)
    if isinstance(part, dict | list):
        for child in part.values() if isinstance(part, dict) else part:
            yield from references(child)
