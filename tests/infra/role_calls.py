"""List the calls of each role by the action that each call needs, and the actions that moto does not enforce."""

import json
import uuid
from collections.abc import Callable
from typing import Any

import log_group
import notify
from botocore.session import Session

from infra.aws.__main__ import parse_arguments, run
from infra.report.publish import to_cloudwatch
from tests.infra.cloud_roles import Account
from tests.infra.moto_stacks import PHOTOS, RESULTS
from tests.support.sam import IMAGE, REGION

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
