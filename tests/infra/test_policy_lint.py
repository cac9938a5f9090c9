"""Test the static analysis of IAM policies: a bad statement fails. `make lint` checks the policies themselves."""

import json
import subprocess
from typing import Any

import pytest

from tests.support import ROOT
from tests.support.commands import execute
from tests.support.sam import SAM, run

AUDIT = ROOT / ".venv-audit/bin/python"
pytestmark = [
    pytest.mark.sam,
    pytest.mark.skipif(not AUDIT.exists(), reason="the audit tools are not installed in .venv-audit"),
]
Policies = dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def policies() -> Policies:
    """Return the rendered policies of both stacks."""
    found: Policies = json.loads(run(SAM.with_name("python"), "-m", "infra.aws.policies"))
    return found


def lint(policies: Policies) -> subprocess.CompletedProcess[str]:
    return execute(AUDIT, "-m", "infra.aws.policy_lint", stdin=json.dumps(policies))


def with_statement(policies: Policies, **statement: Any) -> Policies:
    document = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", **statement}]}
    return policies | {"stack/Bad.PolicyDocument": document}


def test_rendering_finds_policies_of_every_kind(policies) -> None:
    """Managed and inline policies, resource policies and trust policies are found, without intrinsic functions."""
    expected = {"DeployPolicy.PolicyDocument", "Repository.RepositoryPolicyText", "DevRole.AssumeRolePolicyDocument"}
    assert {f"pet-classifier-bootstrap/{name}" for name in expected} < policies.keys()
    assert "pet-classifier-dev/BatchRole.Policies.0.PolicyDocument" in policies
    assert "Fn::" not in json.dumps(policies)


@pytest.mark.parametrize(
    ("statement", "problem"),
    [
        ({"Action": "s3:GetObjekt", "Resource": "*"}, "UNKNOWN_ACTION"),
        ({"Action": "s3:GetObject", "Resource": "*"}, "RESOURCE_STAR"),
        ({"Action": "s3:GetObject", "Resource": "arn:aws:s3:::photos"}, "RESOURCE_MISMATCH"),
        ({"Action": "s3:GetObject", "Resource": "photos/*"}, "INVALID_ARN"),
        (
            {"Action": "sqs:SendMessage", "Resource": "arn:aws:sqs:eu-central-1:123456789012:q",
             "Condition": {"StringEquals": {"s3:prefix": "a"}}},
            "UNKNOWN_CONDITION_FOR_ACTION",
        ),
    ],
)  # fmt: skip
def test_bad_statement_fails(statement, problem, policies) -> None:
    """A bad statement fails with a line that names it and the problem."""
    done = lint(with_statement(policies, **statement))
    assert 1 == done.returncode
    assert done.stdout.startswith(f"stack/Bad/0: {problem}: ")


def test_unused_suppression_fails(policies) -> None:
    """A suppression without a finding fails, so that it cannot hide a later finding."""
    kept = {name: policy for name, policy in policies.items() if "PreviewPolicy" not in name}
    done = lint(kept)
    assert 1 == done.returncode
    assert "pet-classifier-bootstrap/PreviewPolicy/0: no INVALID_ARN; remove it from SUPPRESSED\n" == done.stdout
