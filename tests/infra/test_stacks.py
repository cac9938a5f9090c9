"""Create, update and delete both stacks over HTTP in moto's CloudFormation.

moto does not support the resource types in `UNKNOWN`; cfn-lint and the other tests cover those.
"""

import shutil
import subprocess

import boto3
import pytest

from tests.infra.moto_stacks import PHOTOS, RESULTS, STACK, make, push, stack_arguments
from tests.support import ROOT
from tests.support.commands import GIT
from tests.support.sam import IMAGE, REGION, read, translated

pytestmark = [
    pytest.mark.sam,
    pytest.mark.filterwarnings("ignore:Tried to parse:UserWarning"),  # one for each of UNKNOWN
]

UNKNOWN = {
    "AWS::Budgets::Budget",
    "AWS::CloudWatch::Alarm",
    "AWS::CodeDeploy::Application",
    "AWS::CodeDeploy::DeploymentGroup",
    "AWS::IAM::OIDCProvider",
    "AWS::Lambda::Alias",
    "AWS::Lambda::Url",
    "AWS::Logs::QueryDefinition",
    "AWS::S3::BucketPolicy",
    "AWS::SNS::TopicPolicy",
    "AWS::SQS::QueuePolicy",
}
BOOTSTRAP = "pet-classifier-bootstrap"
COMMIT = "c" * 40


@pytest.fixture(autouse=True)
def _cloud(aws, monkeypatch):
    """Provide an empty account for boto3 and SAM CLI."""
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)


def bootstrap(*arguments):
    done = make("bootstrap", "GITHUB=owner/repository", "EMAIL=owner@example.org", *arguments)
    assert 0 == done.returncode, done.stdout + done.stderr


def resource_types(stack):
    listed = boto3.client("cloudformation").list_stack_resources(StackName=stack)
    return {resource["ResourceType"] for resource in listed["StackResourceSummaries"]} - {""}  # one of UNKNOWN


def types(template, condition=None):
    resources = template["Resources"].values()
    return {found["Type"] for found in resources if found.get("Condition", condition) == condition}


def account_resources():
    """Return the names of all resources in the account, except managed policies, which moto does not delete."""
    client, iam = boto3.client, boto3.client("iam")
    return {
        "functions": {found["FunctionName"] for found in client("lambda").list_functions()["Functions"]},
        "roles": {found["RoleName"] for found in iam.list_roles()["Roles"]},
        "logs": {found["logGroupName"] for found in client("logs").describe_log_groups()["logGroups"]},
        "dashboards": {found["DashboardName"] for found in client("cloudwatch").list_dashboards()["DashboardEntries"]},
        "repositories": {found["repositoryName"] for found in client("ecr").describe_repositories()["repositories"]},
        "queues": set(client("sqs").list_queues().get("QueueUrls", [])),
        "buckets": {found["Name"] for found in client("s3").list_buckets()["Buckets"]},
    }


def test_bootstrap_creates_updates_and_deletes_stack():
    """`make bootstrap` creates and updates the stack; deleting it leaves only the bucket."""
    bootstrap()
    cloudformation = boto3.client("cloudformation")
    assert types(read("infra/aws/bootstrap.yaml")) - UNKNOWN == resource_types(BOOTSTRAP)
    bootstrap("BOOTSTRAP=MonthlyBudget=50")
    [stack] = cloudformation.describe_stacks(StackName=BOOTSTRAP)["Stacks"]
    assert {"ParameterKey": "MonthlyBudget", "ParameterValue": "50"} in stack["Parameters"]
    [bucket] = account_resources()["buckets"]
    cloudformation.delete_stack(StackName=BOOTSTRAP)
    assert {"buckets": {bucket}} == {kind: names for kind, names in account_resources().items() if names}


@pytest.mark.parametrize(("options", "previous"), [([], "0"), (["PREVIOUS=41"], "41")])
def test_deploy_passes_parameters(options, previous):
    """`make deploy` passes its own parameters and those of the environment; it builds and uploads nothing.

    The test ends at the change set, because moto does not describe the resources that SAM generates.
    """
    make("deploy", "ENV=prod", f"IMAGE_URI={IMAGE}", f"COMMIT={COMMIT}", "RELEASE=one", "CANARY=AllAtOnce", *options)
    [stack] = boto3.client("cloudformation").describe_stacks()["Stacks"]
    assert "pet-classifier-prod" == stack["StackName"]
    given = {parameter["ParameterKey"]: parameter["ParameterValue"] for parameter in stack["Parameters"]}
    expected = {
        "ImageUri": IMAGE,
        "Commit": COMMIT,
        "Release": "one",
        "Canary": "AllAtOnce",
        "PreviousVersion": previous,
        "LogRetentionDays": "90",
    }
    assert expected == {name: given[name] for name in expected}
    assert [{"Key": "Project", "Value": "pet-classifier"}, {"Key": "Environment", "Value": "prod"}] == stack["Tags"]


@pytest.mark.parametrize("changed", [False, True])
def test_deploy_uses_commit_of_clean_checkout(changed, tmp_path):
    """Without COMMIT, `make deploy` uses HEAD; a checkout with changes is an error."""
    git = [*GIT, "-C", tmp_path]
    shutil.copy(ROOT / "Makefile", tmp_path)
    for command in (["init", "--quiet"], ["add", "Makefile"], ["commit", "--quiet", "--message", "Add it"]):
        subprocess.run([*git, *command], check=True)
    head = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()
    if changed:
        (tmp_path / "new").touch()
    done = make("-n", "-C", str(tmp_path), "deploy", "ENV=dev", f"IMAGE_URI={IMAGE}")
    expected = "COMMIT is empty: expected COMMIT=… or a checkout without changes" if changed else f'Commit="{head}"'
    assert expected in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["deploy", "IMAGE_URI=r@sha256:0", "ENV=production"], "ENV=production: expected dev or prod"),
        (["deploy", "ENV=dev", "IMAGE_URI=r:latest"], "IMAGE_URI=r:latest: expected REPOSITORY@sha256:DIGEST"),
        (["deploy", "ENV=dev", f"IMAGE_URI={IMAGE}", "COMMIT=abc"], "COMMIT=abc: expected all 40 digits of a commit"),
        (["deploy", "ENV=dev", f"IMAGE_URI={IMAGE}", "COMMIT="], "COMMIT is empty: expected COMMIT=… or a checkout"),
        (
            ["deploy", "ENV=dev", f"IMAGE_URI={IMAGE}", f"COMMIT={COMMIT}", "PREVIOUS=x"],
            "PREVIOUS=x: expected the number of a version",
        ),
        (["push"], "REPOSITORY is empty: expected "),
    ],
)
def test_invalid_arguments_fail(arguments, message):
    """An invalid argument fails with a line that names the value."""
    done = make(*arguments)
    assert 2 == done.returncode
    assert message in done.stderr
    assert 1 == len(done.stderr.splitlines())


def test_stack_is_created_updated_and_deleted():
    """The stack is created, updated to another image and more memory, and deleted without leftovers.

    It has a bucket of photos, and so the batch and its queues.
    """
    cloudformation, ecr = boto3.client("cloudformation"), boto3.client("ecr")
    ecr.create_repository(repositoryName="pet-classifier")
    before, images = account_resources(), [push("a"), push("b")]
    photos = {"PhotosBucket": PHOTOS, "ResultsBucket": RESULTS}
    cloudformation.create_stack(**stack_arguments(ImageUri=images[0], **photos))
    assert types(translated(), "HasPhotos") - UNKNOWN == resource_types(STACK)
    assert (1769, images[0], images[0], images[0]) == deployed_functions()
    cloudformation.update_stack(**stack_arguments(ImageUri=images[1], MemorySize="2048", **photos))
    assert (2048, images[1], images[1], images[1]) == deployed_functions()
    cloudformation.delete_stack(StackName=STACK)
    assert before == account_resources()


def test_contributions_outlive_their_stack():
    """With ContributionsBucket, the function gets the address of an encrypted bucket; deleting the stack keeps it.

    moto ignores the lifecycle and the block of public access, which tests/infra/test_template_batch.py checks.
    """
    cloudformation = boto3.client("cloudformation")
    boto3.client("ecr").create_repository(repositoryName="pet-classifier")
    cloudformation.create_stack(**stack_arguments(ImageUri=push("a"), ContributionsBucket="on"))
    [bucket] = account_resources()["buckets"]
    assert bucket.startswith(f"{STACK}-contributions-")
    encryption = boto3.client("s3").get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"]
    assert "AES256" == encryption["Rules"][0]["ApplyServerSideEncryptionByDefault"]["SSEAlgorithm"]
    [function] = [name for name in account_resources()["functions"] if "Classifier" in name]
    variables = boto3.client("lambda").get_function(FunctionName=function)["Configuration"]["Environment"]["Variables"]
    assert f"s3://{bucket}" == variables["CONTRIBUTIONS"]
    cloudformation.delete_stack(StackName=STACK)
    assert {"buckets": {bucket}, "repositories": {"pet-classifier"}} == {
        kind: names for kind, names in account_resources().items() if names
    }


def deployed_functions():
    """Return the function's memory and image, and the images of hook and batch."""
    found = {}
    for name in account_resources()["functions"]:
        function = boto3.client("lambda").get_function(FunctionName=name)
        found[name.split("-")[3]] = (function["Configuration"]["MemorySize"], function["Code"]["ImageUri"])
    return *found["Classifier"], found["hook"][1], found["Batch"][1]
