"""Read an environment: its parameter files, its deployed stack, and the version that its URL calls."""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import urlsplit

import yaml
from botocore.exceptions import BotoCoreError, ClientError, WaiterError
from botocore.session import Session

from infra import ROOT

SAMCONFIG = ROOT / "samconfig.toml"
ENVIRONMENTS = ("dev", "prod")
ALIAS = "live"
UNRESERVED = "-1"  # the value of ReservedConcurrency for none
NO_VERSION = "0"  # SAM CLI accepts no empty value on its command line
# Until the first deployment succeeds, a stack has no outputs.
NOT_DEPLOYED = {
    "REVIEW_IN_PROGRESS",
    "CREATE_IN_PROGRESS",
    "CREATE_FAILED",
    "ROLLBACK_IN_PROGRESS",
    "ROLLBACK_COMPLETE",
    "ROLLBACK_FAILED",
    "DELETE_COMPLETE",
}
# What `make deployed` prints, and the parameters and outputs of template.yaml that hold the values.
SHOWN = {
    "image_uri": "ImageUri",
    "commit": "Commit",
    "previous_version": "PreviousVersion",
    "auth": "UrlAuthType",
    "origin": "CorsOrigin",
    "url": "Url",
}


class DeploymentError(Exception):
    """A command cannot run in this environment. The message names the value and the expectation."""


@dataclass(frozen=True)
class Split:
    """The challenger version of an alias, and its share of the traffic."""

    version: str
    share: float

    @classmethod
    def of(cls, alias: Mapping[str, Any]) -> Self | None:
        """Return the split of an alias, as Lambda describes it, or None."""
        weights = (alias.get("RoutingConfig") or {}).get("AdditionalVersionWeights") or {}
        return next((cls(version, share) for version, share in weights.items()), None)

    def __str__(self) -> str:
        return f"{100 * self.share:.0f} % of the traffic goes to version {self.version}"


@dataclass(frozen=True)
class Stack:
    """The stack of an environment, as it was when it was read."""

    name: str
    region: str
    status: str
    parameters: dict[str, str]
    outputs: dict[str, str]

    @classmethod
    def find(cls, environment: str) -> Self | None:
        """Return the stack of an environment, or None if it does not exist or its creation has not succeeded.

        Raise `DeploymentError` if AWS does not answer or denies the call.
        """
        name, region = stack_and_region(environment)
        try:
            client = Session().create_client("cloudformation", region_name=region)
            found = client.describe_stacks(StackName=name)["Stacks"][0]
        except (BotoCoreError, ClientError) as error:
            if "does not exist" in str(error):
                return None
            raise DeploymentError(f"stack {name} in {region}: {error}") from error
        if found["StackStatus"] in NOT_DEPLOYED:
            return None
        parameters = {entry["ParameterKey"]: entry["ParameterValue"] for entry in found.get("Parameters", [])}
        outputs = {entry["OutputKey"]: entry["OutputValue"] for entry in found.get("Outputs", [])}
        return cls(name, region, found["StackStatus"], parameters, outputs)

    @classmethod
    def read(cls, environment: str) -> Self:
        """Return the stack of an environment. Raise `DeploymentError` if there is none."""
        if stack := cls.find(environment):
            return stack
        raise DeploymentError(
            "stack {} in {}: expected a deployed stack, found none".format(*stack_and_region(environment))
        )

    def client(self, service: str) -> Any:
        return Session().create_client(service, region_name=self.region)

    @property
    def function(self) -> str:
        return self.outputs["FunctionName"]

    @property
    def environment(self) -> str:
        return self.name.rpartition("-")[2]

    def command(self, target: str, *variables: str) -> str:
        """Return the make command for this environment, for a message."""
        return " ".join(("make", target, f"ENV={self.environment}", *variables))

    def require_idle(self) -> None:
        """Raise `DeploymentError` during a deployment, because CodeDeploy then owns the alias."""
        if self.status.endswith("_IN_PROGRESS"):
            raise DeploymentError(
                f"{self.name}: {self.status}; expected no deployment in progress. Wait for its end, or roll "
                f"an update back with `aws cloudformation cancel-update-stack --stack-name {self.name}`"
            )

    def read_alias(self) -> dict[str, Any]:
        alias: dict[str, Any] = self.client("lambda").get_alias(FunctionName=self.function, Name=ALIAS)
        return alias

    def read_alias_version(self) -> str:
        """Return the version of the alias: the champion during a split, the replaced version during a deployment."""
        return str(self.read_alias()["FunctionVersion"])

    def read_split(self) -> Split | None:
        """Return the split that runs. During a deployment, the weights are CodeDeploy's, and there is no split."""
        return None if self.status.endswith("_IN_PROGRESS") else Split.of(self.read_alias())


def stack_and_region(environment: str) -> tuple[str, str]:
    """Return the stack name and the region of an environment. Raise `DeploymentError` for other names."""
    if environment not in ENVIRONMENTS:
        raise DeploymentError(f"expected {' or '.join(ENVIRONMENTS)}")
    parameters = tomllib.loads(SAMCONFIG.read_text())[environment]["global"]["parameters"]
    return parameters["stack_name"], parameters["region"]


def load_parameters(environment: str) -> dict[str, str]:
    """Return defaults.yaml overridden by ENVIRONMENT.yaml, as the strings that SAM CLI sends to CloudFormation."""
    values: dict[str, object] = {}
    for name in ("defaults", environment):
        values |= yaml.safe_load((ROOT / f"infra/aws/{name}.yaml").read_text())
    return {name: "" if value is None else str(value) for name, value in values.items()}


def read_values(environment: str) -> str:
    """Return what an environment runs as NAME=VALUE lines. The values are empty before the first deployment."""
    stack = Stack.find(environment)
    values = stack.outputs | stack.parameters if stack else {}
    return "\n".join(f"{name}={values.get(key, '')}" for name, key in SHOWN.items())


def read_live_version(environment: str) -> str:
    """Return the version that the URL calls, or 0 before the first deployment. Raise `DeploymentError` during a split.

    `make deploy` records this version in the stack, and `make back` returns to it. During a split, CodeDeploy would
    replace the split's weights, and the comparison would lose its champion.
    """
    stack = Stack.find(environment)
    if not stack:
        return NO_VERSION
    if split := stack.read_split():
        raise DeploymentError(
            f"{stack.name}: {split}; a deployment would replace this split. End it first: "
            f"{stack.command('split', 'SHARE=0')}"
        )
    return stack.read_alias_version()


def read_host(environment: str) -> str:
    """Return the host of the function URL. Raise `DeploymentError` for a public URL: clients could bypass the edge."""
    stack = Stack.read(environment)
    auth = stack.parameters["UrlAuthType"]
    if auth != "AWS_IAM":
        raise DeploymentError(
            f"{stack.name}: UrlAuthType is {auth}; expected AWS_IAM, because clients can call a public URL directly"
        )
    return urlsplit(stack.outputs["Url"]).hostname or ""


def is_without_changes(error: WaiterError) -> bool:
    """Return whether CloudFormation failed to create a change set because there is nothing to change."""
    reason = error.last_response.get("StatusReason", "")
    return "didn't contain changes" in reason or "No updates" in reason


def choose_rollback_version(stack: Stack, version: str) -> str:
    """Return `version` or, if it is empty, the version before the last deployment.

    Raise `DeploymentError` if the version is invalid or the stack records none.
    """
    if version or (version := stack.parameters.get("PreviousVersion", NO_VERSION)) != NO_VERSION:
        return parse_version(stack, version)
    raise DeploymentError(f"{stack.name}: the stack records no previous version; {_expect_version(stack)}")


def parse_version(stack: Stack, version: str) -> str:
    """Return `version` if it is a positive whole number; raise `DeploymentError` otherwise."""
    if not re.fullmatch(r"[1-9]\d*", version):
        raise DeploymentError(f"VERSION={version}: {_expect_version(stack)}")
    return version


def _expect_version(stack: Stack) -> str:
    return f"expected VERSION=number, one of `aws lambda list-versions-by-function --function-name {stack.function}`"
