"""Test the emergency commands on a stack in moto: `make back`, `make off`, `make on`.

Only AWS can show whether CodeDeploy accepts the next deployment.
"""

import json
from dataclasses import replace
from unittest.mock import Mock

import boto3
import pytest
from botocore.exceptions import WaiterError

from infra.aws import emergency
from infra.aws.__main__ import main
from infra.aws.stack import DeploymentError, Stack
from tests.infra.moto_stacks import PREVIOUS, STACK, reserved
from tests.support.sam import ALIAS_RESOURCE, read

pytestmark = [
    pytest.mark.sam,
    pytest.mark.filterwarnings("ignore:Tried to parse:UserWarning"),
]


def images():
    """Return the image of each of the stack's functions."""
    client = boto3.client("lambda")
    names = [found["FunctionName"] for found in client.list_functions()["Functions"]]
    return {name: client.get_function(FunctionName=name)["Code"]["ImageUri"] for name in names}


def source_state(stack):
    found = boto3.client("lambda").get_event_source_mapping(UUID=stack.outputs["BatchEventSource"])
    return found["State"]


def test_off_is_refused_during_the_first_deployment(monkeypatch, capsys):
    """A stack whose creation has not ended counts as not deployed, because it has no outputs.

    CloudFormation is a mock, because moto creates stacks at once.
    """
    description = {"StackName": STACK, "StackStatus": "CREATE_IN_PROGRESS"}
    cloudformation = Mock(describe_stacks=lambda **_: {"Stacks": [description]})
    monkeypatch.setattr("infra.aws.stack.Session", lambda: Mock(create_client=lambda *_, **__: cloudformation))
    assert 1 == main(["off", "dev"])
    assert f"off dev: stack {STACK} in eu-central-1: expected a deployed stack, found none\n" == capsys.readouterr().err


def test_back_updates_stack(stack):
    """The stack records the alias's version, image and commit, from which the next deployment starts.

    CloudFormation moves the alias: CodeDeploy refuses if the alias is not at the recorded version. Hook and batch use
    the image of the version that serves; moto does not change the code of versioned functions. Other parameters, such
    as the concurrency, keep their values.
    """
    assert 0 == main(["back", "dev"])
    found = Stack.read("dev")
    assert ("a" * 40, "0") == (found.parameters["Commit"], found.parameters["PreviousVersion"])
    assert found.parameters["ImageUri"].endswith("a" * 64)
    template = boto3.client("cloudformation").get_template(StackName=STACK)["TemplateBody"]
    assert PREVIOUS == template["Resources"][ALIAS_RESOURCE]["Properties"]["FunctionVersion"]
    assert "UpdatePolicy" not in template["Resources"][ALIAS_RESOURCE]
    assert {"a" * 64} == {image[-64:] for name, image in images().items() if name != stack.function}
    settings = ("ReservedConcurrency", "UrlAuthType", "PhotosBucket", "MemorySize")
    assert [stack.parameters[name] for name in settings] == [found.parameters[name] for name in settings]


def test_back_twice_requires_version(stack, capsys):
    """The stack records only one previous version; the error names the command that lists all."""
    assert 0 == main(["back", "dev"])
    assert 1 == main(["back", "dev"])
    assert "records no previous version; expected VERSION=number" in capsys.readouterr().err


def test_back_keeps_the_descriptions_of_versions(stack):
    """A second rollback does not change the description that the first one wrote: it would publish a new version."""

    def descriptions() -> list[str]:
        template = boto3.client("cloudformation").get_template(StackName=STACK)["TemplateBody"]
        versions = (each for each in template["Resources"].values() if each["Type"] == "AWS::Lambda::Version")
        return [each["Properties"]["Description"] for each in versions if "Description" in each["Properties"]]

    assert 0 == main(["back", "dev"])
    before = descriptions()
    assert 0 == main(["back", "dev", "--version", str(int(PREVIOUS) + 1)])
    assert before == descriptions()


@pytest.mark.parametrize(
    ("reason", "code"),
    [
        ("The submitted information didn't contain changes.", 0),
        ("No updates are to be performed.", 0),
        ("Template error: resource X does not exist", 1),
    ],
)
def test_back_succeeds_if_the_stack_needs_no_change(stack, monkeypatch, reason, code):
    """An empty change set is no error; any other failed change set is. The failure of AWS's waiter is simulated."""
    create_client = Stack.client

    def client_with_failing_waiters(self, service):
        client = create_client(self, service)
        error = WaiterError("change_set_create_complete", "it failed", {"StatusReason": reason})
        client.get_waiter = Mock(return_value=Mock(wait=Mock(side_effect=error)))
        return client

    monkeypatch.setattr(Stack, "client", client_with_failing_waiters)
    assert code == main(["back", "dev"])
    assert PREVIOUS == stack.read_alias_version()


def test_back_rejects_deployment_in_progress(stack):
    """During a deployment, the error names the command that rolls it back."""
    busy = replace(stack, status="UPDATE_IN_PROGRESS")
    with pytest.raises(DeploymentError, match=f"cancel-update-stack --stack-name {STACK}"):
        emergency.roll_back_version(busy)


def test_live_version_prints_serving_version(stack, capsys):
    """`make deploy` records the version that serves, or 0 before the first deployment."""
    assert 0 == main(["live-version", "dev"])
    assert 0 == main(["live-version", "prod"])
    assert f"{int(PREVIOUS) + 1}\n0\n" == capsys.readouterr().out


def test_off_stops_url_and_batch_until_on(stack):
    """`make off` stops the URL and the batch function; `make on` restores both, with the concurrency of the stack."""
    assert 0 == main(["off", "dev"])
    assert (0, "Disabled") == (reserved(stack), source_state(stack))
    assert 0 == main(["on", "dev"])
    assert (20, "Enabled") == (reserved(stack), source_state(stack))


def test_on_without_reserved_concurrency_removes_limit(stack):
    """-1 removes the limit, so that the account's quota applies."""
    assert 0 == main(["off", "dev"])
    emergency.turn_on(replace(stack, parameters=stack.parameters | {"ReservedConcurrency": "-1"}))
    assert reserved(stack) is None


def test_budget_switch_turns_stack_off(stack):
    """The bootstrap's function turns the existing environment off and ignores the missing one."""
    code = read("infra/aws/bootstrap.yaml")["Resources"]["SwitchOff"]["Properties"]["Code"]["ZipFile"]
    names = {}
    exec(code, names)
    names["handler"]({}, None)
    assert (0, "Disabled") == (reserved(stack), source_state(stack))


@pytest.mark.parametrize("command", ["back", "off", "on"])
def test_commands_require_stack(aws, command, capsys):
    """Without a stack, the error names it."""
    assert 1 == main([command, "prod"])
    expected = "stack pet-classifier-prod in eu-central-1: expected a deployed stack, found none"
    assert f"{command} prod: {expected}\n" == capsys.readouterr().err


def test_template_fits_update(stack):
    """The template is under 51,200 bytes, CloudFormation's limit for templates that are not uploaded to S3."""
    body = json.dumps(emergency._template_at(stack, PREVIOUS), separators=(",", ":"))
    assert len(body.encode()) < 51_200
