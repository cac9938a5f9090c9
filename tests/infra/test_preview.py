"""Test the preview for the reviewer of prod, with a stack in moto."""

import json
import re

import boto3
import pytest

from infra.aws.preview import preview
from infra.aws.stack import load_parameters
from tests.infra.moto_stacks import create_stack
from tests.support.sam import IMAGE, OTHER_IMAGE, REGION

OLD, NEW = "a" * 40, "b" * 40
TEMPLATE = {
    "Parameters": {
        name: {"Type": "String", "Default": "0"}
        for name in ("ImageUri", "Commit", "Release", "PreviousVersion", *load_parameters("prod"))
    },
    "Resources": {"Topic": {"Type": "AWS::SNS::Topic"}},
}


@pytest.fixture
def template(tmp_path):
    path = tmp_path / "template.json"
    path.write_text(json.dumps(TEMPLATE))
    return path


@pytest.fixture
def prod(aws, monkeypatch):
    """Create a stack with another image and commit, and a public URL."""
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
    old = load_parameters("prod") | {"ImageUri": IMAGE, "Commit": OLD, "UrlAuthType": "NONE"}
    create_stack(boto3.client("cloudformation"), "pet-classifier-prod", TEMPLATE, old)


def cells(text):
    """Return the rows of the table of parameters by name."""
    rows = (re.split(r" \| ", row.strip("| ")) for row in text.split("\n\n")[1].splitlines()[2:])
    return {name: (old.strip("`"), new.strip("`")) for name, old, new in (row for row in rows if len(row) == 3)}


def test_preview_shows_changed_parameters(prod, template):
    """The preview has old and new values of image, commit and every changed parameter."""
    actual = cells(preview("prod", OTHER_IMAGE, NEW, template))
    expected = {"ImageUri": (IMAGE, OTHER_IMAGE), "Commit": (OLD, NEW), "UrlAuthType": ("NONE", "AWS_IAM")}
    assert expected == actual


def test_preview_lists_changed_resources(prod, template):
    """The preview lists the resources of the change set, here a new queue."""
    queue = {"Queue": {"Type": "AWS::SQS::Queue"}}
    template.write_text(json.dumps(TEMPLATE | {"Resources": TEMPLATE["Resources"] | queue}))
    assert "| Queue | AWS::SQS::Queue | Add |" in preview("prod", OTHER_IMAGE, NEW, template)


def test_preview_deletes_change_set(prod, template):
    """The change set is deleted without being executed."""
    preview("prod", OTHER_IMAGE, NEW, template)
    cloudformation = boto3.client("cloudformation")
    assert [] == cloudformation.list_change_sets(StackName="pet-classifier-prod")["Summaries"]
    [stack] = cloudformation.describe_stacks(StackName="pet-classifier-prod")["Stacks"]
    assert {"ParameterKey": "Commit", "ParameterValue": OLD} in stack["Parameters"]


def test_preview_of_new_stack_shows_parameters(aws):
    """The preview of a new stack shows all parameters."""
    markdown = preview("prod", IMAGE, NEW)
    assert "The stack is new." in markdown
    assert f"| ImageUri | (empty) | `{IMAGE}` |" in markdown
