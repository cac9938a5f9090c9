"""Provide a deployed stack in moto, and an MLflow store."""

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


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the URI of an MLflow store without runs."""
    from tests.support.mlflow_stores import write_store  # noqa: PLC0415  # few tests need MLflow, which is slow to import

    return write_store(tmp_path_factory.mktemp("store"))
