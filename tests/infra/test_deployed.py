"""Test `make deployed` against a CloudFormation API that moto serves over HTTP."""

import re

import pytest
from botocore.session import Session

from infra.aws import stack
from infra.aws.__main__ import main
from tests.infra.moto_stacks import create_stack
from tests.support.http_server import refusing_url

IMAGE = f"123456789012.dkr.ecr.eu-central-1.amazonaws.com/pet-classifier@sha256:{'c' * 64}"
TEMPLATE = {
    "Parameters": {name: {"Type": "String"} for name in ("ImageUri", "Commit", "PreviousVersion", "UrlAuthType")},
    "Resources": {"Topic": {"Type": "AWS::SNS::Topic"}},
    "Outputs": {"Url": {"Value": "https://abc.example.org/"}},
}


@pytest.fixture
def cloudformation(aws):
    _, region = stack.stack_and_region("dev")
    return Session().create_client("cloudformation", region_name=region)


def create(cloudformation) -> None:
    name, _ = stack.stack_and_region("dev")
    parameters = {"ImageUri": IMAGE, "Commit": "abc", "PreviousVersion": "41", "UrlAuthType": "NONE"}
    create_stack(cloudformation, name, TEMPLATE, parameters)


def test_deployed_prints_the_stack(cloudformation, capsys):
    """`deployed` prints NAME=VALUE lines, the format of step outputs."""
    create(cloudformation)
    assert 0 == main(["deployed", "dev"])
    expected = f"image_uri={IMAGE}\ncommit=abc\nprevious_version=41\nauth=NONE\norigin=\nurl=https://abc.example.org/\n"
    assert expected == capsys.readouterr().out


def test_deployed_prints_empty_values_before_the_first_deployment(cloudformation, capsys):
    """A missing stack is not an error, so that the first deployment runs like any other."""
    assert 0 == main(["deployed", "dev"])
    assert "image_uri=\ncommit=\nprevious_version=\nauth=\norigin=\nurl=\n" == capsys.readouterr().out


def test_shown_values_are_in_the_template():
    """template.yaml has every parameter and output that is printed."""
    template = (stack.SAMCONFIG.parent / "template.yaml").read_text()
    assert [] == [key for key in stack.SHOWN.values() if f"\n  {key}:\n" not in template]


@pytest.mark.parametrize("environment", ["stage", "dev-edge"])
def test_unknown_environment_is_refused(environment, capsys):
    """The error names the environments, and not the other sections of samconfig.toml."""
    assert 1 == main(["deployed", environment])
    printed = capsys.readouterr().err
    assert f"deployed {environment}: expected dev or prod\n" == printed


def test_unreachable_aws_is_reported(monkeypatch, capsys):
    """The one-line error names the command, the environment, the stack and the region."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with refusing_url() as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        assert 1 == main(["deployed", "dev"])
    assert re.fullmatch(
        r"deployed dev: stack pet-classifier-dev in eu-central-1: Could not connect .*\n", capsys.readouterr().err
    )
