"""Test the deployment to LocalStack by inspecting the running container through boto3."""

import re
import sys
from functools import partial
from types import SimpleNamespace

import pytest

from infra.emulator.serve import background
from infra.localstack import __main__ as command
from infra.localstack import container, photo_queue
from infra.localstack.deployment import STACK, references, transform_template, without_functions
from lambda_app.app import create_app
from lambda_app.settings import Settings
from tests.support import ROOT
from tests.support.commands import execute
from tests.support.waiting import BUILD_SECONDS, wait_until


@pytest.fixture(scope="module")
def deployed():
    """Yield the command's output and clients of the LocalStack that it leaves running."""
    done = execute(sys.executable, "-m", "infra.localstack", "--keep", seconds=BUILD_SECONDS, LOCALSTACK_AUTH_TOKEN="")
    running = re.search(r"^LocalStack \S+ on (\S+), .*`docker rm --force (\S+)`", done.stdout)
    try:
        assert (0, "") == (done.returncode, done.stderr), done.stdout
        yield SimpleNamespace(lines=done.stdout.splitlines(), client=command.make_client_factory(running[1]))
    finally:
        if running:
            execute("docker", "rm", "--force", "--volumes", running[2])


@pytest.fixture(scope="module")
def template():
    return transform_template({"ImageUri": command.NOT_PUSHED})


@pytest.mark.docker
@pytest.mark.rie
def test_every_check_passes(deployed):
    """Every check passes, and one line gives the reason why LocalStack runs no functions."""
    verdicts = [line.split(":")[0] for line in deployed.lines if re.match("PASS|FAIL", line)]
    assert ["PASS stack", "PASS answers", "PASS log", "PASS metrics"] == verdicts
    assert any("cat.jpg cat " in line for line in deployed.lines if line.startswith("PASS answers: "))
    [line] = [line for line in deployed.lines if "runs no image functions" in line]
    assert re.search(r"\((Batch|Classifier|Hook): ", line)


@pytest.mark.docker
@pytest.mark.rie
def test_stack_has_all_resources_but_functions(deployed, template):
    """The created resources and those reported as left out are the whole template."""
    listed = deployed.client("cloudformation").describe_stack_resources(StackName=f"{STACK}-rest")["StackResources"]
    [line] = [line for line in deployed.lines if line.startswith("Left out: ")]
    left_out = set(line.removeprefix("Left out: ").split(", "))
    created = {resource["LogicalResourceId"] for resource in listed}
    assert created.isdisjoint(left_out)
    # The name of a version is a hash of the image, which is the same in this test and in the command.
    assert template["Resources"].keys() == created | left_out


@pytest.mark.docker
@pytest.mark.rie
def test_alarms_watch_function(deployed, template):
    """Each alarm of the template exists and has a function's name, although there is no function."""
    # The prefix selects the second stack: LocalStack 4.14 does not delete the resources of the first, which failed.
    alarms = deployed.client("cloudwatch").describe_alarms(AlarmNamePrefix=f"{STACK}-rest-")["MetricAlarms"]
    expected = [resource for resource in template["Resources"].values() if resource["Type"] == "AWS::CloudWatch::Alarm"]
    assert len(expected) == len(alarms) > 0
    watched = {
        value["Value"] for alarm in alarms for value in alarm.get("Dimensions", ()) if value["Name"] == "FunctionName"
    }
    assert {f"{STACK}-Classifier", f"{STACK}-Batch"} == watched


@pytest.mark.docker
@pytest.mark.rie
def test_role_can_write_only_its_log_group(deployed):
    """The role's policy names the ARN of the created log group."""
    resources = deployed.client("cloudformation").describe_stack_resources(StackName=f"{STACK}-rest")["StackResources"]
    ids = {resource["LogicalResourceId"]: resource["PhysicalResourceId"] for resource in resources}
    policy = deployed.client("iam").get_role_policy(RoleName=ids["Role"], PolicyName="WriteOwnLogs")
    [statement] = policy["PolicyDocument"]["Statement"]
    groups = deployed.client("logs").describe_log_groups(logGroupNamePrefix=ids["Logs"])["logGroups"]
    assert {ids["Logs"]: statement["Resource"]}.items() <= {
        each["logGroupName"]: each["arn"] for each in groups
    }.items()


@pytest.mark.docker
@pytest.mark.rie
def test_processed_messages_are_deleted(deployed):
    """The queue is empty after its messages were processed. SQS counts with a delay."""
    sqs = deployed.client("sqs")
    attributes = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    queue = sqs.get_queue_url(QueueName=photo_queue.QUEUE)["QueueUrl"]
    get_attributes = partial(sqs.get_queue_attributes, QueueUrl=queue, AttributeNames=attributes)
    assert wait_until(lambda: {"0"} == set(get_attributes()["Attributes"].values()))


@pytest.mark.docker
@pytest.mark.rie
def test_refused_photo_fails_with_response(deployed, tiny_classifier, monkeypatch):
    """The error for a refused photo names it and the function's response."""
    monkeypatch.setattr(photo_queue, "BUCKET", "refused-photo")
    monkeypatch.setattr(photo_queue, "QUEUE", "refused-photo")  # a separate queue, because its message stays there
    s3, sqs = deployed.client("s3"), deployed.client("sqs")
    queue = photo_queue.send(s3, sqs, [ROOT / "README.md"])
    refused = pytest.raises(
        photo_queue.ClassificationFailed, match=r"^README.md: POST /predict answered 415: .*unsupported_image"
    )
    with background(create_app(tiny_classifier, Settings())) as url, refused:
        photo_queue.classify(s3, sqs, queue, url)


@pytest.mark.docker
@pytest.mark.rie
def test_missing_log_line_fails(deployed, monkeypatch):
    """A request without a log line fails the check of the log."""
    monkeypatch.setattr(photo_queue, "LOG_TIMEOUT_S", 0)
    log, _ = command.check_telemetry(deployed.client, f"/aws/lambda/{STACK}-rest", {"unknown"})
    assert (False, f"0 of 1 requests have a line in /aws/lambda/{STACK}-rest") == (log.passed, log.details)


@pytest.mark.docker
def test_container_ends_with_context(monkeypatch):
    """The container is removed, even after a failure."""
    monkeypatch.delenv(container.TOKEN, raising=False)
    with pytest.raises(ZeroDivisionError), container.localstack() as running:
        raise ZeroDivisionError
    assert "" == execute("docker", "ps", "--all", "--quiet", "--filter", f"name={running.name}").stdout


@pytest.mark.docker
def test_token_without_registry_builds_free_version(monkeypatch, capsys):
    """If the published image cannot be pulled, the version without a token is built, and one line says so."""
    monkeypatch.setenv(container.TOKEN, "token")
    monkeypatch.setattr(container, "PUBLISHED", "127.0.0.1:1/localstack:none")  # no server listens on this port
    assert container.BUILT == container._image()
    assert re.fullmatch("localstack: .*127.0.0.1:1/.*; building the version without a token\n", capsys.readouterr().err)


@pytest.mark.process
def test_missing_engine_exits_with_1():
    """Without a Docker engine, the command prints one line and exits with 1."""
    done = execute(sys.executable, "-m", "infra.localstack", DOCKER_HOST="tcp://127.0.0.1:1", LOCALSTACK_AUTH_TOKEN="")
    assert (1, "") == (done.returncode, done.stdout)
    assert re.fullmatch("localstack: .*no Docker engine answers\n", done.stderr)


FUNCTION = {"Type": "AWS::Lambda::Function"}


@pytest.mark.parametrize(
    ("resource", "stays"),
    [
        ({"Type": "AWS::Logs::LogGroup"}, True),
        ({"Type": "AWS::CloudWatch::Alarm", "Properties": {"Dimensions": [{"Value": {"Ref": "F"}}]}}, True),
        ({"Type": "AWS::CloudWatch::Alarm", "Properties": {"Dimensions": [{"Value": {"Fn::Sub": "${F}:live"}}]}}, True),
        ({"Type": "AWS::IAM::Role", "Properties": {"Resource": {"Fn::GetAtt": ["F", "Arn"]}}}, False),
        ({"Type": "AWS::IAM::Role", "Properties": {"Resource": {"Fn::Sub": ["${F.Arn}:*", {}]}}}, False),
        ({"Type": "AWS::IAM::Role", "Properties": {"Resource": {"Ref": "Version"}}}, False),
        ({"Type": "AWS::Lambda::Url", "Properties": {"TargetFunctionArn": "arn"}}, False),
    ],
    ids=[
        "nothing",
        "its name",
        "its name within a text",
        "its ARN",
        "its ARN within a text",
        "its version",
        "Lambda's",
    ],
)
def test_without_functions_keeps_independent_resources(resource, stays):
    """A resource stays if it needs at most the name of a function, which a parameter replaces."""
    version = {"Type": "AWS::Lambda::Version", "Properties": {"FunctionName": {"Ref": "F"}}}
    rest = without_functions({"Resources": {"F": FUNCTION, "Version": version, "It": resource}})
    assert ({"It"} if stays else set()) == rest["Resources"].keys()
    assert {"F": {"Type": "String", "Default": f"{STACK}-F"}} == rest["Parameters"]


def test_without_functions_removes_indirect_dependents():
    """Resources and outputs that depend on a function indirectly are removed, too."""
    role = {"Type": "AWS::IAM::Role", "Properties": {"Resource": {"Fn::GetAtt": "F.Arn"}}}
    group = {
        "Type": "AWS::CodeDeploy::DeploymentGroup",
        "Properties": {"ServiceRoleArn": {"Fn::GetAtt": ["Role", "Arn"]}},
    }
    outputs = {"Name": {"Value": {"Ref": "F"}}, "Group": {"Value": {"Ref": "Group"}}}
    rest = without_functions({"Resources": {"Group": group, "Role": role, "F": FUNCTION}, "Outputs": outputs})
    assert ({}, {"Name"}) == (rest["Resources"], rest["Outputs"].keys())


def test_references_finds_nested_references():
    """All references are found at any depth, including parameters and pseudo parameters."""
    part = {
        "A": [{"Ref": "One"}, {"Fn::Join": ["", [{"Fn::GetAtt": ["Two", "Arn"]}]]}],
        "B": {"Fn::Sub": "${AWS::Region}"},
    }
    assert ["One", "Two.Arn", "AWS::Region"] == list(references(part))
