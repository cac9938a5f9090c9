"""CodeDeploy's BeforeAllowTraffic hook: the smoke test of a new version before any request reaches it.

https://docs.aws.amazon.com/codedeploy/latest/userguide/reference-appspec-file-structure-hooks.html#appspec-hooks-lambda
Environment: `NewVersion`, the ARN of the version; `IMAGE`, which it has to be made of; `COMMIT`, this image's own.
"""

import json
import os
from dataclasses import asdict
from typing import Any

from botocore.session import Session

from infra.smoke.checks import function_checks
from infra.smoke.expected import Expected, Golden
from infra.smoke.invoke import CONFIG, TIMEOUT_S, invoke
from infra.smoke.run import smoke

WAIT_S = 60  # a version just published may still be pending
RESERVE_S = 2 * TIMEOUT_S + 10  # for a check that began in time, and to tell CodeDeploy


def handler(event: dict[str, str], context: Any) -> dict[str, str]:
    try:
        status = "Succeeded" if _passes(context.get_remaining_time_in_millis() / 1000 - RESERVE_S) else "Failed"
    except Exception as error:  # whatever went wrong: untold, CodeDeploy would wait for an hour
        status = "Failed"
        print(json.dumps({"check": "smoke test", "passed": False, "actual": f"{type(error).__name__}: {error}"}))
    Session().create_client("codedeploy", config=CONFIG).put_lifecycle_event_hook_execution_status(
        deploymentId=event["DeploymentId"],
        lifecycleEventHookExecutionId=event["LifecycleEventHookExecutionId"],
        status=status,
    )
    return {"status": status}


def _passes(limit_s: float) -> bool:
    """Logs one JSON line a check."""
    golden, ask = Golden.read(), invoke(os.environ["NewVersion"])  # noqa: SIM112  # as AWS's own examples call it
    expected = Expected(golden, golden.model_version, os.environ.get("COMMIT", ""), os.environ.get("IMAGE", ""))
    passed = True
    for row in smoke(ask, function_checks(ask, expected), wait_s=WAIT_S, limit_s=limit_s):
        print(json.dumps(asdict(row)), flush=True)
        passed = passed and row.passed
    return passed
