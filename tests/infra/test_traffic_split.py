"""Test `make split` on a stack in moto, and the other commands while a split runs.

moto stores the weights of an alias but routes no requests. Only AWS shows the shares, and that CodeDeploy accepts the
next deployment.
"""

import re
from dataclasses import replace

import boto3
import pytest
from botocore.session import Session
from botocore.stub import Stubber

from infra.aws import traffic_split
from infra.aws.__main__ import main
from infra.aws.stack import DeploymentError, Split, Stack
from tests.infra.moto_stacks import PREVIOUS, make, reserved
from tests.support.sam import IMAGE

pytestmark = [
    pytest.mark.sam,
    pytest.mark.filterwarnings("ignore:Tried to parse:UserWarning"),
]
SERVING = str(int(PREVIOUS) + 1)
END = "make split ENV=dev SHARE=0"


def split(version=PREVIOUS, share="10"):
    return main(["split", "dev", "--version", version, "--share", share])


def test_split_does_not_change_the_stack(stack):
    """A split changes only the alias; CloudFormation's description of the stack stays the same."""
    client = boto3.client("cloudformation")
    before = client.describe_stacks(StackName=stack.name)["Stacks"]
    assert 0 == split()
    assert before == client.describe_stacks(StackName=stack.name)["Stacks"]


def test_split_prints_report_and_end(stack, capsys):
    """The command prints how to compare the versions, and how to end the split."""
    assert 0 == split()
    printed = capsys.readouterr().out
    assert f"10 % of the traffic goes to version {PREVIOUS}, the rest to {SERVING}" in printed
    assert f"make report SOURCE={stack.outputs['LogGroup']} SINCE=20" in printed
    assert END in printed


def test_share_zero_ends_split(stack, capsys):
    """All traffic returns to the recorded version. Without a split, the command changes nothing and succeeds."""
    assert 0 == split()
    assert 0 == main(["split", "dev", "--share", "0"])
    assert 0 == main(["split", "dev", "--share", "0"])
    assert (SERVING, None) == (stack.read_alias_version(), stack.read_split())
    printed = capsys.readouterr().out
    assert f"ended the split with version {PREVIOUS}; all traffic goes to version {SERVING}" in printed
    assert f"no split is running; all traffic goes to version {SERVING}" in printed


@pytest.mark.parametrize(("version", "share"), [(PREVIOUS, "30"), ("1", "10")])
def test_second_split_is_rejected(version, share, stack, capsys):
    """A running split keeps its share and its challenger; the error names the command that ends it."""
    assert 0 == split()
    expected = f"10 % of the traffic goes to version {PREVIOUS}; end this split first: {END}"
    assert 1 == split(version, share)
    assert expected in capsys.readouterr().err
    assert Split(PREVIOUS, 0.1) == stack.read_split()


def test_split_requires_version(stack, capsys):
    """The error names the value and the command that lists all versions."""
    for version in ("", "0", "latest"):
        expected = f"VERSION={version}: expected VERSION=number, one of `aws lambda list-versions"
        assert 1 == split(version)
        assert expected in capsys.readouterr().err


def test_split_rejects_serving_version(stack, capsys):
    """The serving version cannot be its own challenger."""
    assert 1 == split(SERVING)
    assert f"VERSION={SERVING}: this version already serves" in capsys.readouterr().err


def test_split_rejects_missing_version(stack, capsys):
    """Lambda's error is printed in one line, and the alias stays the same."""
    assert 1 == split("99")
    assert re.match(r"split dev: .*ResourceNotFound.*\n$", capsys.readouterr().err)
    assert stack.read_split() is None


@pytest.mark.parametrize("share", ["41", "-1", "2.5", "ten", ""])
def test_split_rejects_share(share, capsys):
    """The error names the share and the expected range."""
    with pytest.raises(SystemExit):
        split(share=share)
    assert f"SHARE={share}: expected a whole number of percent from 0 to 40" in capsys.readouterr().err


def test_split_rejects_deployment_in_progress(stack):
    """During a deployment the weights belong to CodeDeploy: a split neither starts nor ends."""
    assert 0 == split()
    busy = replace(stack, status="UPDATE_IN_PROGRESS")
    for change in (lambda: traffic_split.start_split(busy, PREVIOUS, 20), lambda: traffic_split.end_split(busy)):
        with pytest.raises(DeploymentError, match="expected no deployment in progress"):
            change()
    assert (Split(PREVIOUS, 0.1), None) == (stack.read_split(), busy.read_split())


def test_split_rejects_provisioned_concurrency(stack):
    """Provisioned concurrency cannot change while the alias has weights (hashicorp/terraform#24957)."""
    provisioned = replace(stack, parameters=stack.parameters | {"ProvisionedConcurrency": "2"})
    with pytest.raises(DeploymentError, match="ProvisionedConcurrency is 2; expected 0"):
        traffic_split.start_split(provisioned, PREVIOUS, 10)


@pytest.fixture
def stubbed(monkeypatch):
    """Yield a stack, and the Stubber that answers its calls of Lambda."""
    client = Session().create_client("lambda", "eu-central-1", aws_access_key_id="test", aws_secret_access_key="test")
    monkeypatch.setattr(Stack, "client", lambda *_: client)
    with Stubber(client) as stub:
        yield Stack("pet-classifier-dev", "eu-central-1", "CREATE_COMPLETE", {}, {"FunctionName": "pets"}), stub


def test_split_rejects_inactive_version(stubbed):
    """An idle version must be invoked first. A Stubber answers, because every version in moto is active."""
    stack, stub = stubbed
    stub.add_response("get_alias", {"FunctionVersion": SERVING, "RevisionId": "a"})
    stub.add_response("get_function_configuration", {"State": "Inactive"})
    expected = r"VERSION=2: its state is Inactive.*--function-name pets --qualifier 2 "
    with pytest.raises(DeploymentError, match=expected):
        traffic_split.start_split(stack, PREVIOUS, 10)
    stub.assert_no_pending_responses()


def test_split_ends_only_if_the_alias_has_not_changed(stubbed):
    """The weights are removed with the revision of the alias that showed the split. A Stubber holds the revisions."""
    stack, stub = stubbed
    weights = {"AdditionalVersionWeights": {PREVIOUS: 0.1}}
    removed = {"FunctionName": "pets", "Name": "live", "RoutingConfig": {"AdditionalVersionWeights": {}}}
    stub.add_response("get_alias", {"FunctionVersion": SERVING, "RevisionId": "a", "RoutingConfig": weights})
    stub.add_response("update_alias", {}, removed | {"RevisionId": "a"})
    traffic_split.end_split(stack)
    stub.assert_no_pending_responses()


def test_deployment_is_refused_while_split_runs(stack):
    """`make deploy` stops before SAM changes anything, and names the command that ends the split."""
    assert 0 == split()
    done = make("deploy", "ENV=dev", f"IMAGE_URI={IMAGE}", f"COMMIT={'c' * 40}")
    assert 2 == done.returncode
    assert f"version {PREVIOUS}; a deployment would replace this split. End it first: {END}" in done.stderr
    assert Split(PREVIOUS, 0.1) == stack.read_split()


def test_back_ends_split_first(stack, capsys):
    """The split is the last change, so `make back` undoes only that; run again, it rolls the deployment back."""
    assert 0 == split("1")
    assert 0 == main(["back", "dev"])
    assert (SERVING, None) == (stack.read_alias_version(), stack.read_split())
    assert "run this again: make back ENV=dev" in capsys.readouterr().out
    assert 0 == main(["back", "dev"])
    assert PREVIOUS == stack.read_alias_version()


def test_back_with_version_ends_split(stack):
    """With VERSION, all traffic moves to that version, and the split ends."""
    assert 0 == split()
    assert 0 == main(["back", "dev", "--version", "1"])
    assert ("1", None) == (stack.read_alias_version(), stack.read_split())


def test_off_and_on_keep_split(stack, capsys):
    """`make off` stops both versions, and `make on` resumes the split."""
    assert 0 == split()
    assert 0 == main(["off", "dev"])
    assert (0, Split(PREVIOUS, 0.1)) == (reserved(stack), stack.read_split())
    assert 0 == main(["on", "dev"])
    assert f"dev: on; 10 % of the traffic goes to version {PREVIOUS}" in capsys.readouterr().out


def test_make_split_runs_command(stack):
    """`make split` passes environment, version and share."""
    done = make("split", "ENV=dev", f"VERSION={PREVIOUS}", "SHARE=20")
    assert (0, Split(PREVIOUS, 0.2)) == (done.returncode, stack.read_split()), done.stderr
