"""Provide a deployed stack in moto."""

import boto3
import pytest

from infra.aws.stack import Stack
from tests.infra.moto_stacks import create_stack_with_versions, push
from tests.support.sam import REGION


@pytest.fixture
def stack(aws: str, monkeypatch: pytest.MonkeyPatch) -> Stack:
    """Return a deployed stack: PREVIOUS was good, the next version serves; each has its image and commit."""
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
    boto3.client("ecr").create_repository(repositoryName="pet-classifier")
    create_stack_with_versions("dev", [(push(digit), digit * 40) for digit in "ab"])
    return Stack.read("dev")
