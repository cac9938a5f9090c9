"""The emergency commands, on a stack in moto: `make back`, `make off`, `make on`.

moto's CloudFormation makes no alias: the tests do. Whether CodeDeploy accepts the next deployment, only AWS shows.
"""

import json

import boto3
import pytest

from infra.aws import emergency, serving
from infra.aws.deployed import NotKnown
from infra.aws.stack import Stack
from tests.infra.test_stacks import STACK, arguments, push
from tests.sam import ALIAS, REGION, SAM, read

pytestmark = [
    pytest.mark.process,
    pytest.mark.skipif(not SAM.exists(), reason="SAM CLI is not installed in .venv-sam"),
    pytest.mark.filterwarnings("ignore:Tried to parse:UserWarning"),
]
GOOD, BAD = "a" * 40, "b" * 40
PREVIOUS = "2"  # CloudFormation published the first one


@pytest.fixture
def stack(aws, monkeypatch):
    """Return a deployed stack: PREVIOUS was good, the next version serves; each has its image and commit."""
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
    boto3.client("ecr").create_repository(repositoryName="pet-classifier")
    good, bad = push("a"), push("b")
    given = {"PhotosBucket": "photos", "ResultsBucket": "results", "ReservedConcurrency": "20"}
    body = arguments(ImageUri=bad, Commit=BAD, PreviousVersion=PREVIOUS, **given)
    boto3.client("cloudformation").create_stack(**body)
    client, name = boto3.client("lambda"), Stack.read("dev").function
    for image, commit in ((good, GOOD), (bad, BAD)):
        client.update_function_configuration(FunctionName=name, Environment={"Variables": {"IMAGE": image}})
        serving = client.publish_version(FunctionName=name, Description=commit)["Version"]
    client.create_alias(FunctionName=name, Name="live", FunctionVersion=serving)
    return Stack.read("dev")


def images():
    """Return the image of each of the stack's functions."""
    client = boto3.client("lambda")
    names = [found["FunctionName"] for found in client.list_functions()["Functions"]]
    return {name: client.get_function(FunctionName=name)["Code"]["ImageUri"] for name in names}


def source_state(stack):
    found = boto3.client("lambda").get_event_source_mapping(UUID=stack.outputs["BatchEventSource"])
    return found["State"]


def reserved(stack):
    found = boto3.client("lambda").get_function_concurrency(FunctionName=stack.function)
    return found.get("ReservedConcurrentExecutions")


def test_back_moves_the_alias(stack):
    """All traffic goes to the version that served before the last deployment."""
    emergency.main(["back", "dev"])
    assert PREVIOUS == stack.serving_version()


def test_back_keeps_the_stack_in_step(stack):
    """The stack records the alias's version, image and commit, so the next deployment begins where the traffic is."""
    emergency.main(["back", "dev"])
    found = Stack.read("dev")
    assert (GOOD, "0") == (found.parameters["Commit"], found.parameters["PreviousVersion"])
    assert found.parameters["ImageUri"].endswith("a" * 64)
    template = boto3.client("cloudformation").get_template(StackName=STACK)["TemplateBody"]
    assert PREVIOUS == template["Resources"][ALIAS]["Properties"]["FunctionVersion"]


def test_back_does_not_wait_for_codedeploy(stack):
    """CodeDeploy would refuse: the alias is no longer where it was recorded."""
    emergency.main(["back", "dev"])
    template = boto3.client("cloudformation").get_template(StackName=STACK)["TemplateBody"]
    assert "UpdatePolicy" not in template["Resources"][ALIAS]


def test_back_takes_hook_and_batch_along(stack):
    """Both run the image of the version that serves; moto does not change the code of a function with versions."""
    emergency.main(["back", "dev"])
    found = {image[-64:] for name, image in images().items() if name != stack.function}
    assert {"a" * 64} == found


def test_back_changes_no_other_parameter(stack):
    """Settings such as the concurrency stay."""
    emergency.main(["back", "dev"])
    settings = ("ReservedConcurrency", "UrlAuthType", "PhotosBucket", "MemorySize")
    before, after = stack.parameters, Stack.read("dev").parameters
    assert [before[name] for name in settings] == [after[name] for name in settings]


def test_back_twice_asks_for_a_version(stack):
    """Which version served before that is not recorded; the error says where to find the list."""
    emergency.main(["back", "dev"])
    with pytest.raises(NotKnown, match=r"records no previous version; expected VERSION=number"):
        emergency.main(["back", "dev"])


def test_back_takes_a_version(stack):
    """VERSION names another one."""
    emergency.main(["back", "dev", "--version", "1"])
    assert "1" == stack.serving_version()


def test_back_waits_for_no_deployment(stack):
    """While one is in progress the error names the command that ends it."""
    busy = Stack(stack.name, stack.region, "UPDATE_IN_PROGRESS", stack.parameters, stack.outputs)
    with pytest.raises(NotKnown, match=f"cancel-update-stack --stack-name {STACK}"):
        emergency.go_back(busy)


def test_deployment_records_the_version_that_serves(stack, capsys):
    """`make deploy` passes it on, for `make back`; before the first deployment it is 0."""
    serving.main("dev")
    serving.main("prod")
    assert f"{int(PREVIOUS) + 1}\n0\n" == capsys.readouterr().out


def test_off_stops_url_and_batch(stack):
    """The function runs no request, and the queue calls no batch."""
    emergency.main(["off", "dev"])
    assert (0, "Disabled") == (reserved(stack), source_state(stack))


def test_on_restores_what_the_stack_says(stack):
    """The stack's reserved concurrency, and the batch."""
    emergency.main(["off", "dev"])
    emergency.main(["on", "dev"])
    assert (20, "Enabled") == (reserved(stack), source_state(stack))


def test_on_without_a_reserve_sets_no_limit(stack):
    """-1 stands for the account's limit."""
    emergency.main(["off", "dev"])
    emergency.turn_on(
        Stack(stack.name, stack.region, stack.status, stack.parameters | {"ReservedConcurrency": "-1"}, stack.outputs)
    )
    assert reserved(stack) is None


def test_a_spent_budget_does_what_off_does(stack):
    """The bootstrap's function, run here: one environment is there and off, the other one does not matter."""
    code = read("infra/aws/bootstrap.yaml")["Resources"]["SwitchOff"]["Properties"]["Code"]["ZipFile"]
    names = {}
    exec(code, names)
    names["handler"]({}, None)
    assert (0, "Disabled") == (reserved(stack), source_state(stack))


@pytest.mark.parametrize("command", ["back", "off", "on"])
def test_commands_need_a_stack(aws, command):
    """Without one the error names it."""
    with pytest.raises(NotKnown, match="stack pet-classifier-prod in eu-central-1: expected a deployed stack"):
        emergency.main([command, "prod"])


def test_template_fits_an_update(stack):
    """CloudFormation takes 51,200 bytes without a bucket."""
    body = json.dumps(emergency._template_at(stack, PREVIOUS), separators=(",", ":"))
    assert len(body.encode()) < 51_200
