"""Tests of `make split` on a stack in moto, and of the commands that meet a running split.

moto stores the weights of an alias but routes no requests. Only AWS shows the shares, and that CodeDeploy accepts the
next deployment.
"""

import os
import subprocess

import boto3
import pytest
from botocore.session import Session
from botocore.stub import Stubber

from infra.aws import emergency, serving, traffic_split
from infra.aws.deployed import NotKnown
from infra.aws.stack import Split, Stack
from tests.infra.test_emergency import PREVIOUS, deployed_stack, reserved  # noqa: F401  # the first is a fixture
from tests.sam import ENVIRONMENT, IMAGE, ROOT, SAM

pytestmark = [
    pytest.mark.process,
    pytest.mark.skipif(not SAM.exists(), reason="SAM CLI is not installed in .venv-sam"),
    pytest.mark.filterwarnings("ignore:Tried to parse:UserWarning"),
]
SERVING = str(int(PREVIOUS) + 1)
END = "make split ENV=dev SHARE=0"


def make(*arguments):
    command = ["make", "-o", ".venv-sam/.installed", "-o", ".venv/.serve", *arguments]
    environment = ENVIRONMENT | os.environ
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=600)


def split(version=PREVIOUS, share="10"):
    traffic_split.main(["dev", "--version", version, "--share", share])


def with_parameters(stack, **changed):
    return Stack(stack.name, stack.region, stack.status, stack.parameters | changed, stack.outputs)


def test_split_keeps_recorded_version(stack):
    """The challenger gets its share; the alias stays at the version that CloudFormation recorded."""
    split()
    assert (SERVING, Split(PREVIOUS, 0.1)) == (stack.serving_version(), stack.read_split())


def test_split_changes_neither_stack_nor_template(stack):
    """The split is only in the alias, so it leaves nothing behind in the stack."""
    client = boto3.client("cloudformation")
    before = client.describe_stacks(StackName=stack.name)["Stacks"]
    split()
    assert before == client.describe_stacks(StackName=stack.name)["Stacks"]


def test_split_prints_report_and_end(stack, capsys):
    """The command prints how to compare the versions, and how to end the split."""
    split()
    printed = capsys.readouterr().out
    assert f"10 % of the traffic goes to version {PREVIOUS}, the rest to {SERVING}" in printed
    assert f"make report SOURCE={stack.outputs['LogGroup']} SINCE=20" in printed
    assert END in printed


def test_second_share_is_rejected(stack):
    """A running split keeps its share: with two shares, the versions would see the traffic of different days."""
    split()
    with pytest.raises(NotKnown, match="end this split first"):
        traffic_split.start_split(stack, PREVIOUS, 30)
    assert Split(PREVIOUS, 0.1) == stack.read_split()


def test_share_zero_ends_split(stack, capsys):
    """All traffic returns to the recorded version. Without a split, the command says so and succeeds."""
    split()
    traffic_split.main(["dev", "--share", "0"])
    traffic_split.main(["dev", "--share", "0"])
    assert (SERVING, None) == (stack.serving_version(), stack.read_split())
    printed = capsys.readouterr().out
    assert f"ended the split with version {PREVIOUS}; all traffic goes to version {SERVING}" in printed
    assert f"no split runs; all traffic goes to version {SERVING}" in printed


def test_second_challenger_is_rejected(stack):
    """Another challenger would end the comparison silently; the error names the command that ends it."""
    split()
    with pytest.raises(NotKnown, match=rf"10 % of the traffic goes to version {PREVIOUS}; end this split first: {END}"):
        split("1")
    assert Split(PREVIOUS, 0.1) == stack.read_split()


def test_split_requires_version(stack):
    """The error names the value and the command that lists all versions."""
    for version in ("", "0", "latest"):
        expected = f"VERSION={version}: expected VERSION=number, one of `aws lambda list-versions"
        with pytest.raises(NotKnown, match=expected):
            split(version)


def test_split_rejects_serving_version(stack):
    """The serving version cannot be its own challenger."""
    with pytest.raises(NotKnown, match=f"VERSION={SERVING}: it already serves"):
        split(SERVING)


def test_split_rejects_missing_version(stack):
    """Lambda's error reaches the user in one line, and the alias stays as it is."""
    with pytest.raises(SystemExit, match=r"split dev: .*ResourceNotFound"):
        split("99")
    assert stack.read_split() is None


@pytest.mark.parametrize("share", ["41", "-1", "2.5", "ten", ""])
def test_split_rejects_share(share, capsys):
    """The error names the share and what was expected."""
    with pytest.raises(SystemExit):
        split(share=share)
    assert f"SHARE={share}: expected a whole number of percent from 0 to 40" in capsys.readouterr().err


def test_split_rejects_deployment_in_progress(stack):
    """During a deployment the weights belong to CodeDeploy: a split neither starts nor ends."""
    split()
    busy = Stack(stack.name, stack.region, "UPDATE_IN_PROGRESS", stack.parameters, stack.outputs)
    for change in (lambda: traffic_split.start_split(busy, PREVIOUS, 20), lambda: traffic_split.end_split(busy)):
        with pytest.raises(NotKnown, match="expected no deployment in progress"):
            change()
    assert (Split(PREVIOUS, 0.1), None) == (stack.read_split(), busy.read_split())


def test_split_rejects_provisioned_concurrency(stack):
    """Provisioned concurrency cannot change while the alias has weights (hashicorp/terraform#24957)."""
    with pytest.raises(NotKnown, match=r"ProvisionedConcurrency .* expected 0"):
        traffic_split.start_split(with_parameters(stack, ProvisionedConcurrency="2"), PREVIOUS, 10)


def test_split_rejects_inactive_version(monkeypatch):
    """An idle version must be invoked first. A Stubber answers, because every version in moto is active."""
    client = Session().create_client("lambda", "eu-central-1", aws_access_key_id="test", aws_secret_access_key="test")
    monkeypatch.setattr(Stack, "client", lambda *_: client)
    stack = Stack("pet-classifier-dev", "eu-central-1", "CREATE_COMPLETE", {}, {"FunctionName": "pets"})
    with Stubber(client) as stub:
        stub.add_response("get_alias", {"FunctionVersion": SERVING, "RevisionId": "a"})
        stub.add_response("get_alias", {"FunctionVersion": SERVING, "RevisionId": "a"})
        stub.add_response("get_function_configuration", {"State": "Inactive"})
        with pytest.raises(NotKnown, match=r"VERSION=2: its state is Inactive.*--function-name pets --qualifier 2 "):
            traffic_split.start_split(stack, PREVIOUS, 10)
        stub.assert_no_pending_responses()


def test_deployment_is_refused_while_split_runs(stack):
    """`make deploy` stops before SAM changes anything, and names the command that ends the split."""
    split()
    done = make("deploy", "ENV=dev", f"IMAGE_URI={IMAGE}", f"COMMIT={'c' * 40}")
    assert 2 == done.returncode
    assert f"version {PREVIOUS}; a deployment would replace this split. End it first: {END}" in done.stderr
    assert Split(PREVIOUS, 0.1) == stack.read_split()


def test_deployment_starts_after_split(stack, capsys):
    """After the split, the next deployment starts from the recorded version."""
    split()
    traffic_split.main(["dev", "--share", "0"])
    capsys.readouterr()
    serving.main("dev")
    assert f"{SERVING}\n" == capsys.readouterr().out


def test_back_ends_split_first(stack, capsys):
    """The split is the last change, so `make back` undoes only that; run again, it rolls the deployment back."""
    split("1")
    emergency.main(["back", "dev"])
    assert (SERVING, None) == (stack.serving_version(), stack.read_split())
    assert "run this again: make back ENV=dev" in capsys.readouterr().out
    emergency.main(["back", "dev"])
    assert PREVIOUS == stack.serving_version()


def test_back_with_version_ends_split(stack):
    """With VERSION, all traffic moves to that version, and the split ends."""
    split()
    emergency.main(["back", "dev", "--version", PREVIOUS])
    assert (PREVIOUS, None) == (stack.serving_version(), stack.read_split())


def test_off_and_on_keep_split(stack, capsys):
    """Off stops both versions, and on lets the split continue."""
    split()
    emergency.main(["off", "dev"])
    assert (0, Split(PREVIOUS, 0.1)) == (reserved(stack), stack.read_split())
    emergency.main(["on", "dev"])
    assert f"dev: on; 10 % of the traffic goes to version {PREVIOUS}" in capsys.readouterr().out


def test_make_split_runs_command(stack):
    """`make split` passes environment, version and share."""
    done = make("split", "ENV=dev", f"VERSION={PREVIOUS}", "SHARE=20")
    assert (0, Split(PREVIOUS, 0.2)) == (done.returncode, stack.read_split()), done.stderr
