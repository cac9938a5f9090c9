"""template.yaml in LocalStack's CloudFormation; without its functions where LocalStack cannot run them."""

import json
import os
import re
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from botocore.exceptions import WaiterError

from infra.emulator.runtime import ROOT

NAME = "pet-classifier"
REGION = "us-east-1"
CAPABILITIES = ["CAPABILITY_IAM", "CAPABILITY_NAMED_IAM"]
WAIT = {"Delay": 1, "MaxAttempts": 120}


class DeploymentFailed(Exception):
    """The stack could not be created; the message names the resource and CloudFormation's reason."""


@dataclass(frozen=True)
class Deployment:
    resources: dict[str, str]  # logical to physical ids
    outputs: dict[str, str]
    noted: list[str]  # the types that LocalStack does not make, only writes down
    left_out: list[str]  # the logical ids of the functions and of what cannot be without them
    reason: str  # why not; empty where nothing was left out


def deploy(cloudformation: Any, parameters: Mapping[str, str]) -> Deployment:
    """The whole stack, or all but its functions where these are what fails. Raises DeploymentFailed."""
    whole = translated(parameters)
    failure = _create(cloudformation, NAME, whole, parameters)
    if not failure:
        return _described(cloudformation, NAME, [], "")
    if not failure["ResourceType"].startswith("AWS::Lambda::"):
        raise DeploymentFailed(_shown(failure))
    # Under another name: LocalStack 4.14 rolls the first stack back but cannot delete it, for want of its function.
    rest, name = without_functions(whole), f"{NAME}-rest"
    if another := _create(cloudformation, name, rest, parameters):
        raise DeploymentFailed(_shown(another))
    left_out = sorted(whole["Resources"].keys() - rest["Resources"].keys())
    return _described(cloudformation, name, left_out, _shown(failure))


def translated(parameters: Mapping[str, str]) -> dict[str, Any]:
    """The template as `sam deploy` has it transformed."""
    python = ROOT / ".venv-sam/bin/python"
    given = [f"{name}={value}" for name, value in parameters.items()]
    command: list[str | Path] = [python, "-m", "infra.localstack.translate", "template.yaml", *given]
    environment = os.environ | {"AWS_DEFAULT_REGION": REGION}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise DeploymentFailed(f"template.yaml: {done.stderr.strip().splitlines()[-1]}")
    template: dict[str, Any] = json.loads(done.stdout)
    return template


def _create(
    cloudformation: Any, name: str, template: dict[str, Any], parameters: Mapping[str, str]
) -> dict[str, Any] | None:
    """The event of the first resource that failed, or None."""
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


def _shown(event: dict[str, Any]) -> str:
    return f"{event['LogicalResourceId']}: {event.get('ResourceStatusReason', event['ResourceStatus'])}"


def _described(cloudformation: Any, name: str, left_out: list[str], reason: str) -> Deployment:
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
    """The template without Lambda's resources, and without what needs more of them than the name of a function.

    The name can be said without the function: a parameter stands in for it, so alarms and dashboards stay.
    """
    resources = template["Resources"]
    functions = {name for name, resource in resources.items() if resource["Type"] == "AWS::Lambda::Function"}
    lost = {name for name, resource in resources.items() if resource["Type"].startswith("AWS::Lambda::")}

    def hangs(part: dict[str, Any]) -> bool:
        wanted = {reference for reference in references(part) if reference not in functions}
        return any(reference.split(".")[0] in lost for reference in wanted)

    while more := {name for name, resource in resources.items() if name not in lost and hangs(resource)}:
        lost |= more
    names = {name: {"Type": "String", "Default": f"{NAME}-{name}"} for name in functions}
    return template | {
        "Parameters": template.get("Parameters", {}) | names,
        "Resources": {name: resource for name, resource in resources.items() if name not in lost},
        "Outputs": {name: output for name, output in template.get("Outputs", {}).items() if not hangs(output)},
    }


def references(part: Any) -> Iterator[str]:
    """What a part of a template refers to: `Name` by Ref, `Name.Attribute` by Fn::GetAtt, either by Fn::Sub."""
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
