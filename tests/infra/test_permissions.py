"""Tests of the roles' permissions in moto: each call of a role succeeds with them, and is denied without its action.

tests/infra/cloud_roles.py describes what moto enforces. `NOT_ENFORCED` lists the actions that moto does not enforce.
"""

import json
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import log_group
import notify
import pytest
from botocore.exceptions import ClientError
from botocore.session import Session

from infra.aws import emergency, preview
from infra.aws.__main__ import parse_arguments, run
from infra.aws.stack import DeploymentError
from infra.report.publish import PublishError, to_cloudwatch
from tests.infra.cloud_roles import PHOTOS, RESULTS, Account, configure, create_account
from tests.support.sam import IMAGE, REGION

pytestmark = [
    pytest.mark.sam,
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:Tried to parse:UserWarning"),
]

REPORT: dict[str, Any] = {
    "services": ["pet-classifier-prod"],
    "reference": True,
    "serving": None,
    "versions": {},
    "accuracy": {},
    "drift": {"judged": False},
    "alarms": [],
}
ALLOW = {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
TRUST = json.dumps({"Version": "2012-10-17", "Statement": [ALLOW]})
DENY_S3 = json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Action": "s3:*", "Resource": "*"}]})
MANIFEST = json.dumps({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "layers": []})
Call = Callable[[Account], object]


def client(service: str) -> Any:
    """Return a client with the credentials of the environment; boto3's default session keeps the first ones."""
    return Session().create_client(service, region_name=REGION)


def operate(*arguments: str) -> None:
    """Run a command of infra.aws. Raise the errors that it would print."""
    run(parse_arguments([*arguments]))


def preview_prod(_: Account) -> None:
    operate("preview", "prod", "--image", IMAGE, "--commit", "c" * 40)


def go_back(account: Account) -> None:
    """Run `make back`, and the first step of `make deploy`."""
    operate("live-version", "dev")
    operate("back", "dev", "--version", next(account.versions))


def turn_off_and_on(_: Account) -> None:
    operate("off", "dev")
    operate("on", "dev")


def get_role_policy(account: Account) -> None:
    """Add an inline policy and read it: which others the role has depends on the tests before."""
    role("put_role_policy", PolicyName="read", PolicyDocument=DENY_S3)(account)
    role("get_role_policy", PolicyName="read")(account)


def delete_role_policy(account: Account) -> None:
    """Add an inline policy and delete it."""
    role("put_role_policy", PolicyName="deleted", PolicyDocument=DENY_S3)(account)
    role("delete_role_policy", PolicyName="deleted")(account)


def stack(call: str, **arguments: Any) -> Call:
    return lambda account: getattr(client("cloudformation"), call)(StackName=account.dev.name, **arguments)


def delete_change_set(_: Account) -> None:
    """Create a change set and delete it, as `sam deploy` does if there are no changes."""
    stacks, name = client("cloudformation"), {"StackName": f"trial-{uuid.uuid4().hex}", "ChangeSetName": "trial"}
    body = '{"Resources": {"Topic": {"Type": "AWS::SNS::Topic"}}}'
    stacks.create_change_set(**name, TemplateBody=body, ChangeSetType="CREATE")
    stacks.delete_change_set(**name)


def role(call: str, **arguments: Any) -> Call:
    """Return a call on a role of dev's stack. CloudFormation makes it with the permissions of the deploy role."""
    return lambda account: getattr(client("iam"), call)(RoleName=account.roles["Role"].name, **arguments)


def image(call: str, **arguments: Any) -> Call:
    return lambda _: getattr(client("ecr"), call)(repositoryName="pet-classifier", **arguments)


def put_image(_: Account) -> None:
    client("ecr").put_image(repositoryName="pet-classifier", imageManifest=MANIFEST, imageTag=uuid.uuid4().hex)


def data(call: str, **arguments: Any) -> Call:
    return lambda account: getattr(client("s3"), call)(Bucket=account.bootstrap["Bucket"], **arguments)


def abort_upload(account: Account) -> None:
    s3, name = client("s3"), {"Bucket": account.bootstrap["Bucket"], "Key": "dvc/large"}
    s3.abort_multipart_upload(**name, UploadId=s3.create_multipart_upload(**name)["UploadId"])


def contributions(call: str, **arguments: Any) -> Call:
    """Return a call on dev's bucket of contributed photos."""
    return lambda account: getattr(client("s3"), call)(
        Bucket=account.dev.outputs["Contributions"].removeprefix("s3://"), **arguments
    )


def create_bucket(account: Account) -> None:
    client("s3").create_bucket(
        Bucket=f"{account.dev.name}-contributions-{uuid.uuid4().hex[:8]}",
        CreateBucketConfiguration={"LocationConstraint": REGION},
    )


def invoke(account: Account) -> None:
    client("lambda").invoke(FunctionName=account.dev.function, Qualifier="1", Payload=b"{}")


def alias(call: str, **arguments: Any) -> Call:
    return lambda account: getattr(client("lambda"), call)(FunctionName=account.dev.function, Name="live", **arguments)


def queue(call: str, **arguments: Any) -> Call:
    return lambda account: getattr(client("sqs"), call)(QueueUrl=account.dev.outputs["PhotosQueue"], **arguments)


def log_stream(group: str) -> dict[str, Call]:
    """Return the calls that Lambda makes to write a function's log."""
    name = {"logGroupName": f"/aws/lambda/{group}"}
    events = [{"timestamp": 0, "message": "m"}]
    return {
        "logs:CreateLogStream": lambda _: client("logs").create_log_stream(**name, logStreamName=uuid.uuid4().hex),
        "logs:PutLogEvents": lambda _: client("logs").put_log_events(**name, logStreamName="s", logEvents=events),
    }


DEPLOY: dict[str, Call] = {
    "cloudformation:DescribeStacks": go_back,
    "cloudformation:CreateChangeSet": go_back,
    "cloudformation:DescribeChangeSet": go_back,
    "cloudformation:ExecuteChangeSet": go_back,
    "cloudformation:GetTemplate": go_back,
    "cloudformation:DeleteChangeSet": delete_change_set,
    "cloudformation:DescribeStackEvents": stack("describe_stack_events"),
    "cloudformation:GetTemplateSummary": stack("get_template_summary"),
    "lambda:*": turn_off_and_on,
    "logs:*": lambda _: client("logs").put_retention_policy(
        logGroupName="/aws/lambda/pet-classifier-dev", retentionInDays=30
    ),
    "sqs:*": queue("set_queue_attributes", Attributes={"VisibilityTimeout": "1800"}),
    "cloudwatch:*": lambda _: client("cloudwatch").list_dashboards(),
    "codedeploy:*": lambda _: client("codedeploy").list_applications(),
    "ecr:BatchGetImage": image("batch_get_image", imageIds=[{"imageTag": "a"}]),
    "ecr:GetRepositoryPolicy": image("get_repository_policy"),
    "iam:GetRole": role("get_role"),
    "iam:GetRolePolicy": get_role_policy,
    "iam:ListAttachedRolePolicies": role("list_attached_role_policies"),
    "iam:ListRolePolicies": role("list_role_policies"),
    "iam:PutRolePolicy": role("put_role_policy", PolicyName="trial", PolicyDocument=DENY_S3),
    "iam:DeleteRolePolicy": delete_role_policy,
    "iam:TagRole": role("tag_role", Tags=[{"Key": "a", "Value": "b"}]),
    "iam:UntagRole": role("untag_role", TagKeys=["a"]),
    "iam:UpdateAssumeRolePolicy": role("update_assume_role_policy", PolicyDocument=TRUST),
    "iam:UpdateRole": role("update_role", Description="a"),
    "s3:CreateBucket": create_bucket,
    "s3:GetBucket*": contributions("get_bucket_location"),
    "s3:PutBucketTagging": contributions("put_bucket_tagging", Tagging={"TagSet": [{"Key": "a", "Value": "b"}]}),
    "s3:PutLifecycleConfiguration": contributions(
        "put_bucket_lifecycle_configuration",
        LifecycleConfiguration={"Rules": [{"Status": "Enabled", "Filter": {}, "Expiration": {"Days": 1}}]},
    ),
}
PUSH: dict[str, Call] = {
    "ecr:GetAuthorizationToken": lambda _: client("ecr").get_authorization_token(),
    "ecr:PutImage": put_image,
}
CALLS: dict[str, dict[str, Call]] = {
    "DevRole": DEPLOY | PUSH,
    "PreviewRole": {
        f"cloudformation:{verb}": preview_prod
        for verb in ("CreateChangeSet", "DeleteChangeSet", "DescribeChangeSet", "DescribeStacks")
    },
    "MonitorRole": {
        "logs:FilterLogEvents": lambda _: log_group.main("/aws/lambda/pet-classifier-prod"),
        "cloudwatch:PutMetricData": lambda _: to_cloudwatch(REPORT),
        "sns:Publish": lambda account: notify.main(account.bootstrap["AlarmTopic"], "subject", "message"),
    },
    "TrainRole": {
        "s3:GetBucketLocation": data("get_bucket_location"),
        "s3:ListBucket": data("list_objects_v2"),
        "s3:PutObject": data("put_object", Key="dvc/file", Body=b"data"),
        "s3:GetObject": data("get_object", Key="dvc/stored"),
        "s3:AbortMultipartUpload": abort_upload,
    },
    "Role": log_stream("pet-classifier-dev")
    | {"s3:PutObject": contributions("put_object", Key="contributed/v/cat/a.jpg", Body=b"photo")},
    "HookRole": log_stream("pet-classifier-dev-hook") | {"lambda:InvokeFunction": invoke},
    "BatchRole": log_stream("pet-classifier-dev-batch")
    | {
        "sqs:ReceiveMessage": queue("receive_message"),
        "sqs:DeleteMessage": lambda account: queue("delete_message", ReceiptHandle=account.receipt)(account),
        "sqs:GetQueueAttributes": queue("get_queue_attributes", AttributeNames=["All"]),
        "s3:GetObject": lambda _: client("s3").get_object(Bucket=PHOTOS, Key="cat.jpg")["Body"].read(),
        "s3:ListBucket": lambda _: client("s3").list_objects_v2(Bucket=PHOTOS),
        "s3:PutObject": lambda _: client("s3").put_object(Bucket=RESULTS, Key="pet-classifier-dev/1", Body=b"x"),
    },
    "DeploymentRole": {
        "cloudwatch:DescribeAlarms": lambda _: client("cloudwatch").describe_alarms(),
        "lambda:GetAlias": alias("get_alias"),
        "lambda:UpdateAlias": alias("update_alias"),
        "lambda:InvokeFunction": invoke,
    },
}
# In moto, another statement allows these actions, because moto compares no resources of these services.
COVERED_BY_WILDCARDS = {
    "cloudwatch:DescribeAlarms",
    "codedeploy:GetDeploymentConfig",
    *(f"lambda:{verb}EventSourceMapping" for verb in ("Create", "Delete", "Get", "Update")),
    *(f"lambda:{verb}" for verb in ("ListTags", "TagResource", "UntagResource")),
    *(f"logs:{verb}" for verb in ("DescribeLogGroups", "DescribeQueryDefinitions", "DescribeResourcePolicies")),
    *(f"logs:{verb}QueryDefinition" for verb in ("Delete", "Put")),
}
# CloudFormation and other services need these actions; moto's services do not authorize their calls to each other.
CHECKED_BY_SERVICES = {
    *(f"cloudformation:{verb}Resource" for verb in ("Tag", "Untag")),
    *(f"iam:{verb}Role" for verb in ("Create", "Delete", "Pass")),
    *(f"iam:{verb}RolePolicy" for verb in ("Attach", "Detach")),
    "iam:PutRolePermissionsBoundary",
}
MISSING_IN_MOTO = {
    *(f"ecr:{verb}" for verb in ("BatchCheckLayerAvailability", "CompleteLayerUpload", "GetDownloadUrlForLayer")),
    *(f"ecr:{verb}" for verb in ("InitiateLayerUpload", "UploadLayerPart")),
    *(f"s3:{verb}" for verb in ("ListTagsForResource", "TagResource", "UntagResource")),
    *(f"s3:{verb}" for verb in ("Get*Configuration", "PutBucketPublicAccessBlock", "PutEncryptionConfiguration")),
}
NOT_ENFORCED = {
    "DevRole": COVERED_BY_WILDCARDS | CHECKED_BY_SERVICES | MISSING_IN_MOTO,
    "HookRole": {"codedeploy:PutLifecycleEventHookExecutionStatus"},
    "BatchRole": {"s3:GetObjectVersion"},
    "DeploymentRole": {"lambda:GetProvisionedConcurrencyConfig"},
}
ACTIONS = [pytest.param(role, action, id=f"{role}-{action}") for role, calls in CALLS.items() for action in calls]


@pytest.fixture(scope="module")
def account(moto: dict[str, str]) -> Iterator[Account]:
    """Yield the account for all tests: creating the stacks takes seconds, and every test sets its role's policies."""
    patch = pytest.MonkeyPatch()
    url = moto["AWS_ENDPOINT_URL"]
    for name, value in (moto | {"AWS_DEFAULT_REGION": REGION}).items():
        patch.setenv(name, value)
    for module in (emergency, preview):
        patch.setattr(module, "WAIT", {"Delay": 0, "MaxAttempts": 450})
    account = create_account(url)
    with account.moto:
        yield account
    configure(url, docker=True)
    patch.undo()


def is_denied(call: Call, account: Account) -> bool:
    """Return whether moto denies the call. Any other error is a failure of the test."""
    try:
        call(account)
    except (ClientError, PublishError, DeploymentError, SystemExit) as error:
        if "AccessDenied" not in str(error):
            raise
        return True
    return False


@pytest.mark.parametrize(("role", "action"), ACTIONS)
def test_call_needs_action(role: str, action: str, account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    """A call succeeds with its role's policies, and is denied if they lack its action."""
    call = CALLS[role][action]
    with account.acting(role, monkeypatch):
        allowed = not is_denied(call, account)
    with account.acting(role, monkeypatch, without=action):
        assert (True, True) == (allowed, is_denied(call, account))


@pytest.mark.parametrize("role", CALLS)
def test_every_action_is_tested_or_listed(role: str, account: Account) -> None:
    """`CALLS` tests every action of a role, or `NOT_ENFORCED` lists it."""
    assert account.roles[role].actions == CALLS[role].keys() | NOT_ENFORCED.get(role, set())


def test_deploy_roles_have_equal_actions(account: Account) -> None:
    """Prod's deploy role has the actions of dev's, which the tests use, except for pushing images."""
    pushing = {action for action in account.roles["DevRole"].actions if action.startswith("ecr:")}
    assert account.roles["DevRole"].actions - account.roles["ProdRole"].actions <= pushing


@pytest.mark.parametrize(
    ("role", "call"),
    [
        ("BatchRole", lambda _: client("s3").put_object(Bucket=RESULTS, Key="pet-classifier-prod/1", Body=b"x")),
        ("BatchRole", lambda _: client("s3").put_object(Bucket=PHOTOS, Key="cat.jpg", Body=b"x")),
        ("BatchRole", lambda account: client("s3").get_object(Bucket=account.bootstrap["Bucket"], Key="dvc/stored")),
        ("TrainRole", lambda _: client("s3").get_object(Bucket=PHOTOS, Key="cat.jpg")),
        ("TrainRole", lambda _: client("sts").assume_role(RoleArn="arn:aws:iam::1:role/r", RoleSessionName="test")),
        ("DevRole", lambda account: client("iam").get_role(RoleName=account.roles["ProdRole"].name)),
        ("DevRole", lambda _: client("sqs").purge_queue(QueueUrl="pet-classifier-prod-photos")),
    ],
)
def test_role_cannot_use_other_resources(
    role: str, call: Call, account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A role cannot use what belongs to another role, environment or stack, nor write where it may only read."""
    with account.acting(role, monkeypatch):
        assert is_denied(call, account)
