"""Read a deployed stack: its status, parameters and outputs, and the version that its URL calls."""

import re
from dataclasses import dataclass
from typing import Any, Self

from botocore.session import Session

from infra.aws.deployed import NotKnown, describe_stack, stack_and_region

ALIAS = "live"
NO_VERSION = "0"  # SAM CLI accepts no empty value on its command line


@dataclass(frozen=True)
class Stack:
    name: str
    region: str
    status: str
    parameters: dict[str, str]
    outputs: dict[str, str]

    @classmethod
    def read(cls, environment: str) -> Self:
        """Return the stack of an environment. Raise `NotKnown` if there is none."""
        name, region = stack_and_region(environment)
        found = describe_stack(name, region)
        if not found:
            raise NotKnown(f"stack {name} in {region}: expected a deployed stack, found none")
        parameters = {entry["ParameterKey"]: entry["ParameterValue"] for entry in found.get("Parameters", [])}
        outputs = {entry["OutputKey"]: entry["OutputValue"] for entry in found.get("Outputs", [])}
        return cls(name, region, found["StackStatus"], parameters, outputs)

    def client(self, service: str) -> Any:
        return Session().create_client(service, region_name=self.region)

    @property
    def function(self) -> str:
        return self.outputs["FunctionName"]

    def serving_version(self) -> str:
        """Return the version that receives all traffic, or the larger share during a deployment."""
        return str(self.client("lambda").get_alias(FunctionName=self.function, Name=ALIAS)["FunctionVersion"])


def previous_version(stack: Stack, version: str = "") -> str:
    """Return `version`, by default the one before the last deployment. Raise `NotKnown` if there is none."""
    version = version or stack.parameters.get("PreviousVersion", NO_VERSION)
    if version == NO_VERSION or not re.fullmatch(r"[1-9]\d*", version):
        raise NotKnown(
            f"{stack.name}: the stack records no previous version; expected VERSION=number, "
            f"one of `aws lambda list-versions-by-function --function-name {stack.function}`"
        )
    return version
