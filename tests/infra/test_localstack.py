"""The rehearsal in LocalStack: its image built, its container run, and what it leaves there looked at through boto3."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest

from infra.emulator.runtime import RuntimeNotFound, find_rie
from infra.emulator.serve import background
from infra.localstack import __main__ as rehearsal
from infra.localstack import container, work
from infra.localstack.stack import NAME, references, translated, without_functions
from lambda_app.app import create_app
from lambda_app.settings import Settings

ROOT = Path(__file__).parents[2]
BUILD_SECONDS = 1800  # 80 measured the first time, and 15 for the rehearsal


def execute(*command, seconds=600, **environment):
    return subprocess.run(
        command,
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=seconds,
    )


@pytest.fixture(scope="module")
def engine():
    if shutil.which("docker") is None or execute("docker", "info").returncode:
        pytest.skip("no Docker engine answers")


@pytest.fixture(scope="module")
def rehearsed(engine):
    """The rehearsal's output, and clients of the LocalStack that it leaves running."""
    try:
        find_rie()
    except RuntimeNotFound as error:
        pytest.skip(str(error))
    done = execute(sys.executable, "-m", "infra.localstack", "--keep", seconds=BUILD_SECONDS, LOCALSTACK_AUTH_TOKEN="")
    running = re.search(r"^LocalStack \S+ on (\S+), .*`docker rm --force (\S+)`", done.stdout)
    try:
        assert (0, "") == (done.returncode, done.stderr), done.stdout
        yield SimpleNamespace(lines=done.stdout.splitlines(), client=rehearsal.clients(running[1]))
    finally:
        if running:
            execute("docker", "rm", "--force", "--volumes", running[2])


@pytest.fixture(scope="module")
def template():
    return translated({"ImageUri": rehearsal.NOT_PUSHED})


@pytest.fixture
def answers(rehearsed):
    """By the photo's name, as they lie in the bucket."""
    body = rehearsed.client("s3").get_object(Bucket=work.NAME, Key=work.ANSWERS)["Body"]
    return {answer["key"]: answer for answer in map(json.loads, body.iter_lines())}


@pytest.mark.docker
@pytest.mark.rie
def test_rehearsal_passes(rehearsed):
    """Every check passes, and one line says that functions cannot run there, and why."""
    verdicts = [line.split(":")[0] for line in rehearsed.lines if re.match("PASS|FAIL", line)]
    assert ["PASS stack", "PASS answers", "PASS log", "PASS metrics"] == verdicts
    [line] = [line for line in rehearsed.lines if "runs no image functions" in line]
    assert re.search(r"\((Batch|Classifier|Hook): ", line)


@pytest.mark.docker
@pytest.mark.rie
def test_stack_is_all_but_the_functions(rehearsed, template):
    """What LocalStack lists and what the rehearsal says was left out are the whole template."""
    listed = rehearsed.client("cloudformation").describe_stack_resources(StackName=f"{NAME}-rest")["StackResources"]
    [line] = [line for line in rehearsed.lines if line.startswith("Left out: ")]
    left_out = set(line.removeprefix("Left out: ").split(", "))
    created = {resource["LogicalResourceId"] for resource in listed}
    assert created.isdisjoint(left_out)
    # A version is named by a hash of the image, of which this test and the rehearsal name the same.
    assert template["Resources"].keys() == created | left_out


@pytest.mark.docker
@pytest.mark.rie
def test_alarms_watch_the_function(rehearsed, template):
    """Each alarm of the template exists, with a function's name though there is no function."""
    # By their stack: LocalStack 4.14 does not take back what it had made of the first one, which failed.
    alarms = rehearsed.client("cloudwatch").describe_alarms(AlarmNamePrefix=f"{NAME}-rest-")["MetricAlarms"]
    wanted = [resource for resource in template["Resources"].values() if resource["Type"] == "AWS::CloudWatch::Alarm"]
    assert len(wanted) == len(alarms) > 0
    watched = {
        value["Value"] for alarm in alarms for value in alarm.get("Dimensions", ()) if value["Name"] == "FunctionName"
    }
    assert {f"{NAME}-Classifier", f"{NAME}-Batch"} == watched


@pytest.mark.docker
@pytest.mark.rie
def test_role_writes_its_log_alone(rehearsed):
    """What CloudFormation made of the role's reference is the ARN of the log group that it made."""
    resources = rehearsed.client("cloudformation").describe_stack_resources(StackName=f"{NAME}-rest")["StackResources"]
    ids = {resource["LogicalResourceId"]: resource["PhysicalResourceId"] for resource in resources}
    policy = rehearsed.client("iam").get_role_policy(RoleName=ids["Role"], PolicyName="WriteOwnLogs")
    [statement] = policy["PolicyDocument"]["Statement"]
    groups = rehearsed.client("logs").describe_log_groups(logGroupNamePrefix=ids["Logs"])["logGroups"]
    assert {ids["Logs"]: statement["Resource"]}.items() <= {
        each["logGroupName"]: each["arn"] for each in groups
    }.items()


@pytest.mark.docker
@pytest.mark.rie
def test_answers_are_in_the_bucket(rehearsed, answers):
    """One a photo, the cat is a cat, and no message is left in the queue."""
    assert {photo.name for photo in rehearsal.PHOTOS} == answers.keys()
    assert ("cat", False) == (answers["cat.jpg"]["predicted_class"], answers["cat.jpg"]["unknown"])
    sqs = rehearsed.client("sqs")
    attributes = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    queue = sqs.get_queue_url(QueueName=work.NAME)["QueueUrl"]
    deadline = time.monotonic() + 60  # SQS counts with a delay
    asked = partial(sqs.get_queue_attributes, QueueUrl=queue, AttributeNames=attributes)
    while {"0"} != (left := set(asked()["Attributes"].values())):
        assert time.monotonic() < deadline, f"messages left: {left}"
        time.sleep(0.1)


@pytest.mark.docker
@pytest.mark.rie
def test_log_and_metrics_are_of_the_answers(rehearsed, answers):
    """CloudWatch has the request's line of each answer, and counts predictions by class."""
    request_ids = {answer["request_id"] for answer in answers.values()}
    records = work.read_log(rehearsed.client("logs"), f"/aws/lambda/{NAME}-rest", request_ids)
    classes = {each["request_id"]: each["predicted_class"] for each in records if each.get("message") == "request"}
    assert {answer["request_id"]: answer["predicted_class"] for answer in answers.values()} == classes
    metrics = rehearsed.client("cloudwatch").list_metrics(MetricName="Predictions")["Metrics"]
    dimensions = [{value["Name"]: value["Value"] for value in metric["Dimensions"]} for metric in metrics]
    assert {*classes.values(), None} == {values.get("class") for values in dimensions}  # None is of all together


@pytest.mark.docker
@pytest.mark.rie
def test_refused_photo_fails(rehearsed, tiny_classifier, monkeypatch):
    """What the function does not take is named, with its answer."""
    monkeypatch.setattr(work, "NAME", "refused-photo")  # its message stays in a queue of its own
    s3, sqs = rehearsed.client("s3"), rehearsed.client("sqs")
    queue = work.send(s3, sqs, [ROOT / "README.md"])
    refused = pytest.raises(work.WorkFailed, match=r"^README.md: POST /predict answered 415: .*unsupported_image")
    with background(create_app(tiny_classifier, Settings())) as url, refused:
        work.classify(s3, sqs, queue, url)


@pytest.mark.docker
@pytest.mark.rie
def test_missing_log_line_fails(rehearsed, monkeypatch):
    """A request that left nothing in the log fails the check of it."""
    monkeypatch.setattr(work, "LOG_TIMEOUT_S", 0)
    log, _ = rehearsal.telemetry(rehearsed.client, f"/aws/lambda/{NAME}-rest", {"unheard-of"})
    assert (False, f"0 of 1 requests have their line in /aws/lambda/{NAME}-rest") == (log.passed, log.seen)


@pytest.mark.docker
def test_container_ends_with_the_context(engine, monkeypatch):
    """Nothing runs on, even after a failure."""
    monkeypatch.delenv(container.TOKEN, raising=False)
    with pytest.raises(ZeroDivisionError), container.localstack() as running:
        raise ZeroDivisionError
    assert "" == execute("docker", "ps", "--all", "--quiet", "--filter", f"name={running.name}").stdout


@pytest.mark.docker
def test_token_without_registry(engine, monkeypatch, capsys):
    """Where the published image cannot be pulled, a line says so and the token-free edition is built."""
    monkeypatch.setenv(container.TOKEN, "token")
    monkeypatch.setattr(container, "PUBLISHED", "127.0.0.1:1/localstack:none")  # nobody listens there
    assert container.BUILT == container._image()
    assert re.fullmatch("localstack: .*127.0.0.1:1/.*; building the edition without a token\n", capsys.readouterr().err)


@pytest.mark.process
def test_no_engine():
    """One line and exit code 1."""
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
def test_without_functions(resource, stays):
    """A resource stays if it needs nothing of a function but its name, for which a parameter stands."""
    version = {"Type": "AWS::Lambda::Version", "Properties": {"FunctionName": {"Ref": "F"}}}
    rest = without_functions({"Resources": {"F": FUNCTION, "Version": version, "It": resource}})
    assert ({"It"} if stays else set()) == rest["Resources"].keys()
    assert {"F": {"Type": "String", "Default": f"{NAME}-F"}} == rest["Parameters"]


def test_without_functions_goes_on():
    """What hangs on what hangs on a function goes with it, outputs too."""
    role = {"Type": "AWS::IAM::Role", "Properties": {"Resource": {"Fn::GetAtt": "F.Arn"}}}
    group = {
        "Type": "AWS::CodeDeploy::DeploymentGroup",
        "Properties": {"ServiceRoleArn": {"Fn::GetAtt": ["Role", "Arn"]}},
    }
    outputs = {"Name": {"Value": {"Ref": "F"}}, "Group": {"Value": {"Ref": "Group"}}}
    rest = without_functions({"Resources": {"Group": group, "Role": role, "F": FUNCTION}, "Outputs": outputs})
    assert ({}, {"Name"}) == (rest["Resources"], rest["Outputs"].keys())


def test_references():
    """All of them, however deep: parameters and pseudo parameters too."""
    part = {
        "A": [{"Ref": "One"}, {"Fn::Join": ["", [{"Fn::GetAtt": ["Two", "Arn"]}]]}],
        "B": {"Fn::Sub": "${AWS::Region}"},
    }
    assert ["One", "Two.Arn", "AWS::Region"] == list(references(part))
