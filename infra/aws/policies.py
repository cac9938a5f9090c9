"""Print the IAM policies of both stacks as JSON, rendered with example values.

    .venv-sam/bin/python -m infra.aws.policies

The output is {NAME: POLICY, …}. A name consists of the stack, the resource and the path within the resource. The module
runs in SAM CLI's environment, which has AWS's translator: it generates some of the policies in template.yaml.
"""

import json
import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from samcli.lib.intrinsic_resolver.intrinsic_property_resolver import (  # type: ignore[import-not-found]  # see above
    IntrinsicResolver,
)
from samcli.lib.intrinsic_resolver.intrinsics_symbol_table import (  # type: ignore[import-not-found]  # see above
    IntrinsicsSymbolTable,
)

from infra.aws.translate import translate

FOLDER = Path(__file__).parent
ACCOUNT, REGION = "123456789012", "eu-central-1"
PARAMETERS = {
    "ImageUri": f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/pet-classifier@sha256:{'a' * 64}",
    "PhotosBucket": "photos",
    "ResultsBucket": "results",
    "GitHub": "owner/repository",
    "Email": "owner@example.org",
}
STACKS = {
    "pet-classifier-bootstrap": FOLDER / "bootstrap.yaml",
    "pet-classifier-dev": FOLDER.parents[1] / "template.yaml",
}
# The format of a resource's ARN, by type. Its ID in lower case stands for its name, of which the policy linter checks
# only the characters.
ARNS = {
    "AWS::ECR::Repository": "arn:aws:ecr:{region}:{account}:repository/{name}",
    "AWS::IAM::ManagedPolicy": "arn:aws:iam::{account}:policy/{name}",
    "AWS::IAM::OIDCProvider": "arn:aws:iam::{account}:oidc-provider/token.actions.githubusercontent.com",
    "AWS::Lambda::Function": "arn:aws:lambda:{region}:{account}:function:{name}",
    "AWS::Lambda::Version": "arn:aws:lambda:{region}:{account}:function:{name}:1",
    "AWS::Logs::LogGroup": "arn:aws:logs:{region}:{account}:log-group:{name}:*",
    "AWS::S3::Bucket": "arn:aws:s3:::{name}",
    "AWS::SNS::Topic": "arn:aws:sns:{region}:{account}:{name}",
    "AWS::SQS::Queue": "arn:aws:sqs:{region}:{account}:{name}",
}
# The types whose Ref is the ARN. The Ref of other types is the name.
REFERENCE_IS_ARN = {"AWS::IAM::ManagedPolicy", "AWS::IAM::OIDCProvider", "AWS::Lambda::Version", "AWS::SNS::Topic"}


def create_resolver(stack: str, template: dict[str, Any]) -> IntrinsicResolver:
    """Return SAM CLI's resolver of intrinsic functions, with example values of parameters and resources."""

    def arn(form: str) -> Callable[[str], str]:
        return lambda name: form.format(region=REGION, account=ACCOUNT, name=name.lower())

    types = {
        kind: {"Arn": arn(form), "Ref": arn(form) if kind in REFERENCE_IS_ARN else str.lower}
        for kind, form in ARNS.items()
    }
    values = PARAMETERS | {"AWS::Region": REGION, "AWS::StackName": stack}
    return IntrinsicResolver(template, IntrinsicsSymbolTable(template, values, types, {"Ref": str.lower}))


def find_policies(stack: str, template: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the name and the rendered document of every policy, including trust policies and resource policies."""
    resolver = create_resolver(stack, template)

    def find(value: Any, path: str) -> Iterator[tuple[str, dict[str, Any]]]:
        if isinstance(value, dict) and "Statement" in value:
            policy = resolver.intrinsic_property_resolver(value, ignore_errors=False)
            yield path, json.loads(json.dumps(policy).replace("${!", "${"))  # ${!NAME} is the escape of ${NAME}
        elif isinstance(value, dict | list):
            items = value.items() if isinstance(value, dict) else enumerate(value)
            for key, each in items:
                yield from find(each, f"{path}.{key}")

    for name, resource in template["Resources"].items():
        yield from find(resource["Properties"], f"{stack}/{name}")


def main() -> None:
    logging.disable()  # the translator warns that it cannot send its own metrics
    os.environ["AWS_DEFAULT_REGION"] = REGION  # the translator requires a region
    policies: dict[str, Any] = {}
    for stack, path in STACKS.items():
        policies |= find_policies(stack, translate(path, PARAMETERS))
    print(json.dumps(policies, indent=1))


if __name__ == "__main__":
    main()
