"""Create the stacks of bootstrap, dev and prod in moto, and run code with the credentials of a role.

moto enforces permissions: it compares every request with the actions of the role's policies, with these gaps:

- It compares resources for S3, SQS, IAM and STS only. For others, `relax` replaces them with *, which moto expects.
- It ignores conditions, permissions boundaries and resource policies. Roles are assumed before enforcement starts, so
  their trust policies are not enforced either.
- It derives wrong names for some actions (`MOTO_NAMES`), and a wrong signature for GET requests to Lambda, so the
  tests turn the check of signatures off. It returns 500 if the signature is in the URL.
- Its services do not authorize calls to each other: its CloudFormation creates what the caller may not create.

test_bootstrap.py, test_template*.py and `make lint` check resources and conditions without moto.
"""

import ast
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import cycle
from typing import Any

import boto3
import httpx2
import pytest
from moto.iam.access_control import IAMRequestBase

from infra.aws.stack import Stack
from tests.infra.moto_stacks import PHOTOS, RESULTS, create_stack, create_stack_with_versions, push
from tests.support.moto import empty_account
from tests.support.sam import REGION, as_list, read
from tests.support.waiting import DEADLINE_S

Policy = dict[str, Any]
RESOURCES_ENFORCED = {"s3", "sqs", "iam", "sts"}
# IAM's name of an action, and the name that moto derives from the request.
MOTO_NAMES = {
    "lambda:InvokeFunction": "lambda:Invoke",
    "cloudwatch:PutMetricData": "monitoring:PutMetricData",
    "cloudwatch:DescribeAlarms": "monitoring:DescribeAlarms",
    "cloudwatch:*": "monitoring:*",
}
PULL = {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "ecr:BatchGetImage"}
CREDENTIAL_FIELDS = {
    "AWS_ACCESS_KEY_ID": "AccessKeyId",
    "AWS_SECRET_ACCESS_KEY": "SecretAccessKey",
    "AWS_SESSION_TOKEN": "SessionToken",
}


@dataclass(frozen=True)
class Role:
    """A role of a stack, with its policies as CloudFormation rendered them."""

    arn: str
    tags: dict[str, str]
    policies: list[Policy]

    @property
    def name(self) -> str:
        return self.arn.rpartition("/")[2]

    @property
    def actions(self) -> set[str]:
        return {
            action
            for policy in self.policies
            for statement in policy["Statement"]
            for action in as_list(statement["Action"])
        }


@dataclass(frozen=True)
class Account:
    """An account of moto with the stacks bootstrap, pet-classifier-dev and pet-classifier-prod."""

    moto: httpx2.Client
    iam: Any  # a client with all permissions
    roles: dict[str, Role]
    bootstrap: dict[str, str]
    dev: Stack
    receipt: str  # of a message in dev's queue
    # Published versions; `make back` needs another one each time.
    versions: Iterator[str] = field(default_factory=lambda: cycle("123"))
    credentials: dict[str, dict[str, str]] = field(default_factory=dict)  # of the roles that were assumed, by name

    @contextmanager
    def acting(self, role: str, patch: pytest.MonkeyPatch, without: str = "") -> Iterator[None]:
        """Run the block with the credentials of a role, whose policies lack the action `without`, if there is one."""
        self.grant(role, without)
        with patch.context() as environment:
            environment.setattr(IAMRequestBase, "check_signature", lambda _: None)
            for variable, value in self.assume(role).items():
                environment.setenv(variable, value)
            self._authorize_after("0")
            try:
                yield
            finally:
                self._authorize_after("inf")

    def assume(self, role: str) -> dict[str, str]:
        """Return the credentials of a role as environment variables."""
        if role not in self.credentials:
            assumed = boto3.client("sts").assume_role(RoleArn=self.roles[role].arn, RoleSessionName="test")
            self.credentials[role] = {
                variable: assumed["Credentials"][key] for variable, key in CREDENTIAL_FIELDS.items()
            }
        return self.credentials[role]

    def grant(self, role: str, without: str = "") -> None:
        """Replace the role's inline policies by all its policies, without one action, as test-0, test-1 and so on."""
        policies = [relax(policy, self.roles[role].tags, without) for policy in self.roles[role].policies]
        attached = {f"test-{place}": policy for place, policy in enumerate(policies) if policy["Statement"]}
        name = self.roles[role].name
        for policy in set(self.iam.list_role_policies(RoleName=name)["PolicyNames"]) - attached.keys():
            self.iam.delete_role_policy(RoleName=name, PolicyName=policy)
        for policy, document in attached.items():
            self.iam.put_role_policy(RoleName=name, PolicyName=policy, PolicyDocument=json.dumps(document))

    def _authorize_after(self, requests: str) -> None:
        self.moto.post("/moto-api/reset-auth", content=requests).raise_for_status()


def relax(policy: Policy, tags: dict[str, str], without: str) -> Policy:
    """Return a policy in the form that moto enforces, without one action.

    It has no conditions, moto's names of actions, the values of the role's tags, and * for the resources that moto
    cannot compare.
    """
    statements = []
    for statement in policy["Statement"]:
        actions = [action for action in as_list(statement["Action"]) if action != without]
        for service in sorted({action.partition(":")[0] for action in actions}):
            own = [MOTO_NAMES.get(action, action) for action in actions if action.startswith(f"{service}:")]
            resource = as_list(statement["Resource"]) if service in RESOURCES_ENFORCED else ["*"]
            statements.append({"Effect": statement["Effect"], "Action": own, "Resource": resource})
    text = json.dumps({"Version": policy["Version"], "Statement": statements})
    for name, value in tags.items():
        text = text.replace(f"${{aws:PrincipalTag/{name}}}", value)
    found: Policy = json.loads(text)
    return found


def configure(moto: str, *, docker: bool) -> None:
    """Empty the account. Without Docker, moto's Lambda answers each invocation with its payload."""
    empty_account(moto)
    configuration = {"lambda": {"use_docker": docker}}
    httpx2.post(f"{moto}/moto-api/config", json=configuration, trust_env=False, timeout=DEADLINE_S).raise_for_status()


def create_account(moto: str) -> Account:
    """Empty the account and create the stacks of bootstrap, dev and prod. The photos of the batch are in PHOTOS."""
    configure(moto, docker=False)
    cloudformation, s3 = boto3.client("cloudformation"), boto3.client("s3")
    for bucket in (PHOTOS, RESULTS):
        s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": REGION})
    parameters = {"GitHub": "o/r", "Email": "a@example.org", "PhotosBucket": PHOTOS, "ResultsBucket": RESULTS}
    create_stack(cloudformation, "pet-classifier-bootstrap", read("infra/aws/bootstrap.yaml"), parameters)
    versions = [(push(digit), digit * 40) for digit in "ab"]
    for environment in ("dev", "prod"):
        create_stack_with_versions(environment, versions)
    [bootstrap] = cloudformation.describe_stacks(StackName="pet-classifier-bootstrap")["Stacks"]
    outputs = {output["OutputKey"]: output["OutputValue"] for output in bootstrap["Outputs"]}
    s3.put_object(Bucket=outputs["Bucket"], Key="dvc/stored", Body=b"data")
    s3.put_object(Bucket=PHOTOS, Key="cat.jpg", Body=b"photo")
    for name in ("", "-hook", "-batch"):
        boto3.client("logs").create_log_stream(logGroupName=f"/aws/lambda/pet-classifier-dev{name}", logStreamName="s")
    policy = json.dumps({"Version": "2012-10-17", "Statement": [PULL]})
    boto3.client("ecr").set_repository_policy(repositoryName="pet-classifier", policyText=policy)
    client = httpx2.Client(base_url=moto, trust_env=False, timeout=DEADLINE_S)
    return Account(client, boto3.client("iam"), _roles(), outputs, Stack.read("dev"), _receive(Stack.read("dev")))


def _receive(stack: Stack) -> str:
    """Send a message, receive it before the batch does, and return its receipt."""
    queue = {"QueueUrl": stack.outputs["PhotosQueue"]}
    boto3.client("lambda").update_event_source_mapping(UUID=stack.outputs["BatchEventSource"], Enabled=False)
    boto3.client("sqs").send_message(**queue, MessageBody="photo")
    return str(boto3.client("sqs").receive_message(**queue)["Messages"][0]["ReceiptHandle"])


def _roles() -> dict[str, Role]:
    """Return the roles by their logical names: those of bootstrap, and those of dev's stack."""
    iam, found = boto3.client("iam"), {}
    for role in iam.list_roles()["Roles"]:
        stack, logical, _ = role["RoleName"].rsplit("-", 2)
        tags = {tag["Key"]: tag["Value"] for tag in iam.get_role(RoleName=role["RoleName"])["Role"].get("Tags", [])}
        if stack != "pet-classifier-prod":
            policies = _inline_policies(iam, role["RoleName"]) + _managed_policies(iam, logical)
            found[logical] = Role(role["Arn"], tags, policies)
    return found


def _inline_policies(iam: Any, role: str) -> list[Policy]:
    """Return the inline policies. moto's CloudFormation stores those within a role as Python's text of a dict."""
    names = iam.list_role_policies(RoleName=role)["PolicyNames"]
    found = [iam.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"] for name in names]
    return [ast.literal_eval(policy) if isinstance(policy, str) else policy for policy in found]


def _managed_policies(iam: Any, logical: str) -> list[Policy]:
    """Return the managed policies of a role of bootstrap, which moto's CloudFormation creates but does not attach."""
    role = read("infra/aws/bootstrap.yaml")["Resources"].get(logical, {"Properties": {}})
    names = {reference["Ref"] for reference in role["Properties"].get("ManagedPolicyArns", [])}
    policies = iam.list_policies(Scope="Local")["Policies"]
    return [
        iam.get_policy_version(PolicyArn=policy["Arn"], VersionId=policy["DefaultVersionId"])["PolicyVersion"][
            "Document"
        ]
        for policy in policies
        if policy["PolicyName"].split("-")[-2] in names
    ]
