"""Check the IAM statements of both stacks with parliament, which knows AWS's actions, resources and conditions.

    .venv-sam/bin/python -m infra.aws.policies | .venv-audit/bin/python -m infra.aws.policy_lint

Exits with 1 if a finding has no entry in `SUPPRESSED`, or an entry has no finding. The module runs in the environment
of the audit tools. parliament does not support trust policies; tests/infra/test_bootstrap.py tests them.
"""

import json
import sys
import warnings
from collections.abc import Iterator
from typing import Any

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # parliament 1.6 imports pkg_resources, which is deprecated
    import parliament  # type: ignore[import-not-found]  # only in .venv-audit

Finding = tuple[str, str]  # the statement, and parliament's name of the issue
EVENT_SOURCE = "an event source mapping has a random ID; the condition restricts its function"
TRANSFORM = "in the ARN of a transform, the account is `aws`"
# https://docs.aws.amazon.com/serverless-application-model/latest/developerguide/automating-updates-to-serverless-apps.html
HOOK = "AWS's example of a hook uses the ARN of the deployment group"
SUPPRESSED: dict[Finding, str] = {
    ("pet-classifier-bootstrap/PreviewPolicy/0", "INVALID_ARN"): TRANSFORM,
    ("pet-classifier-bootstrap/DeployPolicy/Stack", "INVALID_ARN"): TRANSFORM,
    (
        "pet-classifier-bootstrap/DeployPolicy/Resources",
        "RESOURCE_MISMATCH",
    ): "allows all actions on the resources of the stack; actions on other resources stay denied",
    (
        "pet-classifier-bootstrap/DeployPolicy/ContributionsBucket",
        "RESOURCE_MISMATCH",
    ): "Get*Configuration also matches an action of Storage Lens, whose resources stay denied",
    (
        "pet-classifier-bootstrap/DeployPolicy/ContributionsBucket",
        "RESOURCE_POLICY_PRIVILEGE_ESCALATION",
    ): "the stack sets the lifecycle of contributed photos; it can delete photos, but not read them",
    ("pet-classifier-bootstrap/DeployPolicy/EventSources", "RESOURCE_STAR"): EVENT_SOURCE,
    (
        "pet-classifier-bootstrap/DeployPolicy/Lists",
        "RESOURCE_STAR",
    ): "DescribeAlarms only reads, and a deployment looks up its alarms by name",
    (
        "pet-classifier-bootstrap/DeployPolicy/RolesWithBoundary",
        "MISMATCHED_TYPE_BUT_USABLE",
    ): "an exact ARN; AWS's examples compare iam:PermissionsBoundary with StringEquals",
    ("pet-classifier-bootstrap/SwitchOffRole/2", "RESOURCE_STAR"): EVENT_SOURCE,
    ("pet-classifier-bootstrap/Repository/0", "MALFORMED"): "the policy of a repository has no Resource",
    ("pet-classifier-bootstrap/DevBoundary/2", "RESOURCE_MISMATCH"): HOOK,
    ("pet-classifier-bootstrap/ProdBoundary/2", "RESOURCE_MISMATCH"): HOOK,
    ("pet-classifier-dev/HookRole/2", "RESOURCE_MISMATCH"): HOOK,
}


def find_issues(policies: dict[str, dict[str, Any]]) -> Iterator[tuple[Finding, str]]:
    """Yield each finding with its details. A statement is named by its Sid, or by its position in the policy."""
    for path, policy in policies.items():
        resource, _, place = path.partition(".")
        if place == "AssumeRolePolicyDocument":
            continue
        for number, statement in enumerate(policy["Statement"]):
            single = json.dumps(policy | {"Statement": [statement]})
            for finding in parliament.analyze_policy_string(single).findings:
                name = f"{resource}/{statement.get('Sid', number)}"
                yield (name, finding.issue), f"{finding.detail} {finding.location}"


def list_problems(policies: dict[str, dict[str, Any]]) -> list[str]:
    """Return a line for each finding that is not suppressed, and for each suppression without a finding."""
    found = list(find_issues(policies))
    problems = [f"{name}: {issue}: {details}" for (name, issue), details in found if (name, issue) not in SUPPRESSED]
    unused = SUPPRESSED.keys() - {finding for finding, _ in found}
    return problems + [f"{name}: no {issue}; remove it from SUPPRESSED" for name, issue in sorted(unused)]


def main() -> int:
    problems = list_problems(json.load(sys.stdin))
    print(*problems, sep="\n", end="\n" if problems else "")
    return bool(problems)


if __name__ == "__main__":
    sys.exit(main())
