"""What an environment runs, asked of a CloudFormation that is moto's, over HTTP."""

import json

import pytest
from botocore.session import Session

from infra.aws import deployed

IMAGE = f"123456789012.dkr.ecr.eu-central-1.amazonaws.com/pet-classifier@sha256:{'c' * 64}"
TEMPLATE = {
    "Parameters": {"ImageUri": {"Type": "String"}, "Commit": {"Type": "String"}, "UrlAuthType": {"Type": "String"}},
    "Resources": {"Topic": {"Type": "AWS::SNS::Topic"}},
    "Outputs": {"Url": {"Value": "https://abc.example.org/"}},
}


@pytest.fixture
def cloudformation(aws):
    _, region = deployed.stack_and_region("dev")
    return Session().create_client("cloudformation", region_name=region)


def create(cloudformation) -> None:
    values = {"ImageUri": IMAGE, "Commit": "abc", "UrlAuthType": "NONE"}
    given = [{"ParameterKey": key, "ParameterValue": value} for key, value in values.items()]
    name, _ = deployed.stack_and_region("dev")
    cloudformation.create_stack(StackName=name, TemplateBody=json.dumps(TEMPLATE), Parameters=given)


def test_what_is_said_is_what_the_stack_says(cloudformation, capsys):
    """One NAME=VALUE a line, as a step's output is written."""
    create(cloudformation)
    deployed.main("dev")
    expected = f"image_uri={IMAGE}\ncommit=abc\nauth=NONE\norigin=\nurl=https://abc.example.org/\n"
    assert expected == capsys.readouterr().out


def test_before_the_first_deployment_there_is_nothing(cloudformation, capsys):
    """That is no error, so that the first deployment runs as every other."""
    deployed.main("dev")
    assert "image_uri=\ncommit=\nauth=\norigin=\nurl=\n" == capsys.readouterr().out


def test_what_is_asked_for_is_in_the_template():
    """A parameter or output that is renamed there would be empty here."""
    template = (deployed.SAMCONFIG.parent / "template.yaml").read_text()
    assert [key for key in deployed.SHOWN.values() if f"\n  {key}:\n" not in template] == []


def test_dev_and_prod_are_stacks_of_their_own():
    """Where the workflows deploy to, as samconfig.toml names it."""
    assert ["pet-classifier-dev", "pet-classifier-prod"] == [
        deployed.stack_and_region(environment)[0] for environment in ("dev", "prod")
    ]


def test_an_environment_that_is_not_configured_is_named():
    """With those that are."""
    with pytest.raises(SystemExit, match=r"^ENV=stage: expected one of .*dev, prod.*, as in samconfig\.toml$"):
        deployed.main("stage")


def test_an_aws_that_does_not_answer_is_said_in_one_line(monkeypatch):
    """An endpoint where nobody listens stands for it."""
    for name, value in {
        "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
        "AWS_MAX_ATTEMPTS": "1",
        "AWS_ACCESS_KEY_ID": "test",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    with pytest.raises(SystemExit, match=r"^stack pet-classifier-dev in eu-central-1: Could not connect .*$"):
        deployed.main("dev")
