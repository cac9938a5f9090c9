"""What the approver of prod sees, of a stack in moto."""

import json
import re

import boto3
import pytest

from infra.aws import preview
from infra.aws.parameters import load_parameters
from tests.sam import IMAGE, OTHER_IMAGE, REGION

OLD, NEW = "a" * 40, "b" * 40
TEMPLATE = {
    "Parameters": {
        name: {"Type": "String", "Default": "0"}
        for name in ("ImageUri", "Commit", "Release", "PreviousVersion", *load_parameters("prod"))
    },
    "Resources": {"Topic": {"Type": "AWS::SNS::Topic"}},
}


@pytest.fixture
def prod(aws, monkeypatch):
    """Return the parameters of the next deployment; the stack that is there has a public URL."""
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
    new = load_parameters("prod") | {"ImageUri": OTHER_IMAGE, "Commit": NEW}
    old = new | {"ImageUri": IMAGE, "Commit": OLD, "UrlAuthType": "NONE"}
    boto3.client("cloudformation").create_stack(
        StackName="pet-classifier-prod",
        TemplateBody=json.dumps(TEMPLATE),
        Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in old.items()],
    )
    return new


def cells(text):
    """Return the rows of the parameters' table, by name."""
    rows = (re.split(r" \| ", row.strip("| ")) for row in text.split("\n\n")[0].splitlines()[2:])
    return {name: (old.strip("`"), new.strip("`")) for name, old, new in (row for row in rows if len(row) == 3)}


def test_preview_shows_what_changes(prod):
    """Image, commit and each parameter that gets another value, old and new."""
    shown = cells(preview.preview("prod", prod, json.dumps(TEMPLATE)))
    expected = {"ImageUri": (IMAGE, OTHER_IMAGE), "Commit": (OLD, NEW), "UrlAuthType": ("NONE", "AWS_IAM")}
    assert expected == shown


def test_preview_lists_the_resources(prod):
    """Those of CloudFormation's change set; a queue is added here."""
    queue = {"Queue": {"Type": "AWS::SQS::Queue"}}
    template = TEMPLATE | {"Resources": TEMPLATE["Resources"] | queue}
    assert "| Queue | AWS::SQS::Queue | Add |" in preview.preview("prod", prod, json.dumps(template))


def test_preview_leaves_no_change_set(prod):
    """And changes nothing."""
    preview.preview("prod", prod, json.dumps(TEMPLATE))
    cloudformation = boto3.client("cloudformation")
    assert [] == cloudformation.list_change_sets(StackName="pet-classifier-prod")["Summaries"]
    [stack] = cloudformation.describe_stacks(StackName="pet-classifier-prod")["Stacks"]
    assert {"ParameterKey": "Commit", "ParameterValue": OLD} in stack["Parameters"]


def test_preview_of_a_new_stack_shows_its_parameters(aws):
    """There is nothing to compare with yet."""
    new = load_parameters("prod") | {"ImageUri": IMAGE, "Commit": NEW}
    shown = preview.preview("prod", new, json.dumps(TEMPLATE))
    assert shown.startswith("The stack is new.")
    assert f"| ImageUri | (empty) | `{IMAGE}` |" in shown
