"""Run the smoke test against a new version before it receives traffic, as CodeDeploy's BeforeAllowTraffic hook.

https://docs.aws.amazon.com/codedeploy/latest/userguide/reference-appspec-file-structure-hooks.html#appspec-hooks-lambda
Environment variables: `NewVersion`, the ARN of the version; `IMAGE`, the image that it must run; `COMMIT`, the
commit that this image was built from, which the image sets.
"""

import json
import os
import time
import uuid
from collections.abc import Mapping
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import Any

from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from botocore.session import Session

from infra.emulator.event import HttpRequest, to_event, to_payload
from infra.emulator.response import HttpResponse, MalformedResponse, to_response
from infra.smoke.checks import function_checks, health_check
from infra.smoke.golden import Expected, Golden
from infra.smoke.messages import Ask, NoAnswer
from infra.smoke.runner import run_checks
from lambda_app.telemetry.fields import SYNTHETIC_HEADER

WAIT_S = 60  # a version just published may still be pending
CONNECT_S = 5
TIMEOUT_S = 20  # longer than the function's own timeout in template.yaml
# Two attempts: throttling does not mean that the new version is broken.
RETRIES = {"total_max_attempts": 2, "mode": "standard"}
CONFIG = Config(connect_timeout=CONNECT_S, read_timeout=TIMEOUT_S, retries=RETRIES)
RESERVE_S = 2 * (CONNECT_S + TIMEOUT_S) + 20  # for a request with its retry, then 20 s for the call to CodeDeploy


def handler(event: dict[str, str], context: Any) -> dict[str, str]:
    """Report Succeeded or Failed to CodeDeploy, whatever happens: without a report it would wait for an hour."""
    deadline = time.monotonic() + context.get_remaining_time_in_millis() / 1000 - RESERVE_S
    try:
        status = "Succeeded" if _passes(deadline) else "Failed"
    except Exception as error:
        status = "Failed"
        print(json.dumps({"check": "smoke test", "passed": False, "actual": f"{type(error).__name__}: {error}"}))
    Session().create_client("codedeploy", config=CONFIG).put_lifecycle_event_hook_execution_status(
        deploymentId=event["DeploymentId"],
        lifecycleEventHookExecutionId=event["LifecycleEventHookExecutionId"],
        status=status,
    )
    return {"status": status}


def _passes(deadline: float) -> bool:
    """Log one JSON line per check, and return whether all passed. After the deadline, the remaining checks fail."""
    golden = Golden.read()
    ask = lambda_client(os.environ["NewVersion"], deadline)  # noqa: SIM112  # AWS's examples use this name
    expected = Expected(golden, golden.model_version, os.environ.get("COMMIT", ""), os.environ.get("IMAGE", ""))
    wait_s = min(WAIT_S, deadline - time.monotonic())  # waiting must not use up the reserve for the report
    passed = True
    for result in run_checks(health_check(ask), function_checks(ask, expected), wait_s=wait_s):
        print(json.dumps(asdict(result)), flush=True)
        passed = passed and result.passed
    return passed


def lambda_client(function: str, deadline: float) -> Ask:
    """Return a callable that sends requests to a function (name or ARN) as a function URL would.

    It uses Lambda's Invoke API, because no URL leads to a version without traffic. After `deadline`, in seconds of
    `time.monotonic`, it sends nothing and raises `NoAnswer`.
    """
    client = Session().create_client("lambda", config=CONFIG)

    def ask(request: HttpRequest) -> HttpResponse:
        if time.monotonic() > deadline:
            raise NoAnswer("not sent: Lambda is about to stop the hook")
        request = replace(request, headers=(SYNTHETIC_HEADER, *request.headers))
        event = to_event(request, request_id=str(uuid.uuid4()), now=datetime.now(UTC))
        try:
            return _response(client.invoke(FunctionName=function, Payload=to_payload(event)))
        except (BotoCoreError, ClientError, MalformedResponse) as error:
            raise NoAnswer(f"{type(error).__name__}: {error}") from error

    return ask


def _response(reply: Mapping[str, Any]) -> HttpResponse:
    payload: bytes = reply["Payload"].read()
    if "FunctionError" in reply:
        raise NoAnswer(f"{reply['FunctionError']} error of the function: {payload[:300].decode('utf-8', 'replace')}")
    return to_response(payload)
