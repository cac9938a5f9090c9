"""Test the roles' permissions in moto: each call of a role succeeds with them, and is denied without its action.

tests/infra/cloud_roles.py describes what moto enforces. `NOT_ENFORCED` lists the actions that moto does not enforce.
"""

from collections.abc import Iterator

import pytest
from botocore.exceptions import ClientError

from infra.aws import emergency, preview
from infra.aws.stack import DeploymentError
from infra.report.publish import PublishError
from tests.infra.cloud_roles import Account, configure, create_account
from tests.infra.moto_stacks import PHOTOS, RESULTS
from tests.infra.role_calls import CALLS, NOT_ENFORCED, Call, client
from tests.support.sam import REGION

pytestmark = [
    pytest.mark.sam,
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:Tried to parse:UserWarning"),
]
ACTIONS = [pytest.param(role, action, id=f"{role}-{action}") for role, calls in CALLS.items() for action in calls]


@pytest.fixture(scope="module")
def account(moto: dict[str, str]) -> Iterator[Account]:
    """Yield the account for all tests: creating the stacks takes seconds, and every test sets its role's policies."""
    url = moto["AWS_ENDPOINT_URL"]
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (moto | {"AWS_DEFAULT_REGION": REGION}).items():
            patch.setenv(name, value)
        for module in (emergency, preview):
            patch.setattr(module, "WAIT", {"Delay": 0, "MaxAttempts": 450})
        try:
            account = create_account(url)
            with account.moto:
                yield account
        finally:
            configure(url, docker=True)


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
