"""Tests of the preview for the reviewer of prod, with a stack in moto."""

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
    """Return the parameters of the next deployment; the existing stack has a public URL."""
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
    """Return the rows of the table of parameters by name."""
    rows = (re.split(r" \| ", row.strip("| ")) for row in text.split("\n\n")[0].splitlines()[2:])
    return {name: (old.strip("`"), new.strip("`")) for name, old, new in (row for row in rows if len(row) == 3)}


def test_preview_shows_changed_parameters(prod):
    """The preview has old and new values of image, commit and every changed parameter."""
    actual = cells(preview.preview("prod", prod, json.dumps(TEMPLATE)))
    expected = {"ImageUri": (IMAGE, OTHER_IMAGE), "Commit": (OLD, NEW), "UrlAuthType": ("NONE", "AWS_IAM")}
    assert expected == actual


def test_preview_lists_changed_resources(prod):
    """The preview lists the resources of the change set, here a new queue."""
    queue = {"Queue": {"Type": "AWS::SQS::Queue"}}
    template = TEMPLATE | {"Resources": TEMPLATE["Resources"] | queue}
    assert "| Queue | AWS::SQS::Queue | Add |" in preview.preview("prod", prod, json.dumps(template))


def test_preview_deletes_change_set(prod):
    """The change set is deleted without being executed."""
    preview.preview("prod", prod, json.dumps(TEMPLATE))
    cloudformation = boto3.client("cloudformation")
    assert [] == cloudformation.list_change_sets(StackName="pet-classifier-prod")["Summaries"]
    [stack] = cloudformation.describe_stacks(StackName="pet-classifier-prod")["Stacks"]
    assert {"ParameterKey": "Commit", "ParameterValue": OLD} in stack["Parameters"]


def test_preview_of_new_stack_shows_parameters(aws):
    """The preview of a new stack shows all parameters."""
    new = load_parameters("prod") | {"ImageUri": IMAGE, "Commit": NEW}
    markdown = preview.preview("prod", new, json.dumps(TEMPLATE))
    assert markdown.startswith("The stack is new.")
    assert f"| ImageUri | (empty) | `{IMAGE}` |" in markdown
