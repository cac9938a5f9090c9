"""Create stacks of the template in moto, and run make against them.

moto's CloudFormation creates no alias, so `create_stack_with_versions` creates it.
"""

import json
import subprocess
from collections.abc import Sequence
from typing import Any

import boto3

from infra.aws.stack import Stack
from tests.support.commands import execute
from tests.support.sam import MAKE, REPOSITORY, SAM_VARIABLES, Template, translated, version_id

STACK = "pet-classifier-dev"
PREVIOUS = "2"  # the version before the serving one; CloudFormation published the first one
PHOTOS, RESULTS = "photos", "results"


def make(*arguments: str) -> subprocess.CompletedProcess[str]:
    return execute(*MAKE, *arguments, **SAM_VARIABLES)


def push(digit: str) -> str:
    """Push another image to the repository and return its URI with digest."""
    digest = f"sha256:{digit * 64}"
    manifest = json.dumps({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "layers": []})
    boto3.client("ecr").put_image(
        repositoryName="pet-classifier", imageManifest=manifest, imageTag=digit, imageDigest=digest
    )
    return f"{REPOSITORY}@{digest}"


def create_stack(client: Any, name: str, template: Template, parameters: dict[str, str]) -> None:
    client.create_stack(
        StackName=name,
        TemplateBody=json.dumps(template),
        Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()],
        Capabilities=["CAPABILITY_NAMED_IAM"],
    )


def stack_arguments(**parameters: str) -> dict[str, Any]:
    """Return the arguments of a stack, without a version's ARN and the URL, which moto does not support."""
    name = version_id(**parameters)
    template = json.loads(json.dumps(translated(**parameters)).replace(json.dumps({"Ref": name}), json.dumps(name)))
    del template["Outputs"]["Url"]
    return {
        "StackName": STACK,
        "TemplateBody": json.dumps(template),
        "Parameters": [{"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()],
        "Capabilities": ["CAPABILITY_IAM"],
    }


def create_stack_with_versions(environment: str, versions: Sequence[tuple[str, str]]) -> None:
    """Create the stack of an environment, and publish a version for each image and commit. The last one serves."""
    image, commit = versions[-1]
    parameters = {"ImageUri": image, "Commit": commit, "PreviousVersion": PREVIOUS, "ReservedConcurrency": "20"}
    parameters |= {"PhotosBucket": PHOTOS, "ResultsBucket": RESULTS}
    # moto cannot update a stack with a bucket whose condition is false: it looks for the bucket that does not exist.
    parameters |= {"ContributionsBucket": "on"}
    arguments = stack_arguments(**parameters) | {"StackName": f"pet-classifier-{environment}"}
    boto3.client("cloudformation").create_stack(**arguments)
    client, name = boto3.client("lambda"), Stack.read(environment).function
    for image, commit in versions:
        client.update_function_configuration(FunctionName=name, Environment={"Variables": {"IMAGE": image}})
        serving = client.publish_version(FunctionName=name, Description=commit)["Version"]
    client.create_alias(FunctionName=name, Name="live", FunctionVersion=serving)


def reserved(stack: Stack) -> int | None:
    """Return the function's reserved concurrency, or None without a limit."""
    found = boto3.client("lambda").get_function_concurrency(FunctionName=stack.function)
    concurrency: int | None = found.get("ReservedConcurrentExecutions")
    return concurrency
