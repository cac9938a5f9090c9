"""Print the IAM policies of both stacks as JSON, rendered with example values.

    .venv-sam/bin/python -m infra.aws.policies

The output is {NAME: POLICY, …}. A name consists of the stack, the resource and the path within the resource. The module
runs in SAM CLI's environment, which has AWS's translator: it generates some of the policies in template.yaml.
"""

import json
import logging
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

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
# The format of a resource's ARN, by type. The linter checks only the characters of a name.
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


class Renderer:
    """Evaluate the intrinsic functions of one template."""

    def __init__(self, stack: str, template: dict[str, Any]) -> None:
        self.resources, self.conditions = template["Resources"], template.get("Conditions", {})
        pseudo = {"Partition": "aws", "Region": REGION, "AccountId": ACCOUNT, "StackName": stack}
        self.values = {name: str(parameter.get("Default", "")) for name, parameter in template["Parameters"].items()}
        self.values |= PARAMETERS | {f"AWS::{name}": value for name, value in pseudo.items()}

    def render(self, value: Any) -> Any:
        """Return the value with its intrinsic functions evaluated. Raise `ValueError` for an unsupported function."""
        if isinstance(value, list):
            return [self.render(each) for each in value]
        if not isinstance(value, dict):
            return value
        for name, argument in value.items():
            if name == "Ref" or name.startswith("Fn::"):
                return self._call(name, argument)
        return {key: self.render(each) for key, each in value.items()}

    def _call(self, function: str, argument: Any) -> Any:
        if function == "Ref":
            return self._resolve(argument)
        if function == "Fn::GetAtt":
            return self._resolve_attribute(*(argument.split(".", 1) if isinstance(argument, str) else argument))
        if function == "Fn::Sub":
            return self._substitute(*(argument if isinstance(argument, list) else (argument, {})))
        if function == "Fn::If":
            return self.render(argument[1] if self._is_true(self.conditions[argument[0]]) else argument[2])
        raise ValueError(f"{function}: expected Ref, GetAtt, Sub or If; extend infra/aws/policies.py")

    def _resolve(self, name: str) -> str:
        if name in self.values:
            return self.values[name]
        return self._resolve_attribute(name, "Arn" if self.resources[name]["Type"] in REFERENCE_IS_ARN else "Name")

    def _resolve_attribute(self, name: str, attribute: str) -> str:
        if attribute != "Arn":
            return name.lower()
        return ARNS[self.resources[name]["Type"]].format(region=REGION, account=ACCOUNT, name=name.lower())

    def _substitute(self, text: str, values: dict[str, Any]) -> str:
        """Replace ${NAME} and ${NAME.ATTRIBUTE}. Keep ${!…}, which is an IAM policy variable."""

        def replace(match: re.Match[str]) -> str:
            name = match[1]
            if name in values:
                return str(self.render(values[name]))
            return self._resolve_attribute(*name.split(".")) if "." in name else self._resolve(name)

        return re.sub(r"\$\{([^!}]+)\}", replace, text).replace("${!", "${")

    def _is_true(self, condition: dict[str, Any]) -> bool:
        if "Fn::Not" in condition:
            return not self._is_true(condition["Fn::Not"][0])
        first, second = condition["Fn::Equals"]
        return str(self.render(first)) == str(self.render(second))


def find_policies(stack: str, template: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the name and the rendered document of every policy, including trust policies and resource policies."""
    renderer = Renderer(stack, template)

    def find(value: Any, path: str) -> Iterator[tuple[str, dict[str, Any]]]:
        if isinstance(value, dict) and "Statement" in value:
            yield path, renderer.render(value)
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
