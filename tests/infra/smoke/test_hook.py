"""Test the CodeDeploy hook; hook and function run in Lambda's runtime, and botocore connects them.

A small HTTP server that records requests stands in for CodeDeploy: moto has no PutLifecycleEventHookExecutionStatus.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import ThreadingHTTPServer
from types import SimpleNamespace
from typing import Any

import httpx2
import pytest
from botocore.config import Config

from infra.emulator.invoke import invoke_url
from infra.emulator.runtime import lambda_runtime
from infra.smoke import hook
from infra.smoke.golden import GoldenError
from infra.smoke.messages import NoAnswer, get
from tests.support.emulator import KEY_VARIABLES
from tests.support.http_server import QuietHandler, refusing_url, serving
from tests.support.waiting import DEADLINE_S

pytestmark = pytest.mark.slow

EVENT = {"DeploymentId": "d-123", "LifecycleEventHookExecutionId": "execution"}
CONTEXT = SimpleNamespace(get_remaining_time_in_millis=lambda: 300_000)


@dataclass
class RecordingServer:
    """Record the target and body of each request, and always send the same response."""

    answer: bytes
    headers: dict[str, str] = field(default_factory=dict)
    endpoint: str = ""
    requests: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    @property
    def statuses(self) -> list[str]:
        return [body["status"] for _, body in self.requests]


@contextmanager
def listening(service: RecordingServer) -> Iterator[RecordingServer]:
    class Handler(QuietHandler):
        def do_POST(self) -> None:  # noqa: N802  # http.server calls this name
            service.requests.append((self.headers["x-amz-target"], json.loads(self.read_body())))
            self.respond(200, service.headers, service.answer)

    with serving(ThreadingHTTPServer(("127.0.0.1", 0), Handler)) as service.endpoint:
        yield service


@pytest.fixture
def codedeploy() -> Iterator[RecordingServer]:
    with listening(RecordingServer(b'{"lifecycleEventHookExecutionId": "execution"}')) as service:
        yield service


@pytest.fixture
def hook_environment(keys: None, codedeploy: RecordingServer, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Set the hook's environment variables; the emulator names its only function "function"."""
    settings = {"AWS_ENDPOINT_URL_CODEDEPLOY": codedeploy.endpoint, "NewVersion": "function"}
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(hook, "WAIT_S", 0.3)
    monkeypatch.setattr(hook, "CONFIG", hook.CONFIG.merge(Config(read_timeout=DEADLINE_S)))
    return monkeypatch


class TestHookInRuntime:
    pytestmark = pytest.mark.rie

    def test_good_version_succeeds(self, function, codedeploy: RecordingServer) -> None:
        """The hook tests the version, logs one JSON line per check and reports Succeeded to CodeDeploy."""
        # A function of its own, because its whole log is checked.
        with lambda_runtime(env=function.environment, timeout_s=DEADLINE_S) as version:
            settings = {
                "AWS_ENDPOINT_URL_LAMBDA": version.endpoint,
                "AWS_ENDPOINT_URL_CODEDEPLOY": codedeploy.endpoint,
                "NewVersion": "function",
                **function.environment,
                **KEY_VARIABLES,
            }
            with lambda_runtime("infra.smoke.hook.handler", env=settings, timeout_s=DEADLINE_S) as runtime:
                response = httpx2.post(invoke_url(runtime.endpoint), json=EVENT, timeout=DEADLINE_S, trust_env=False)
            rows = [json.loads(line) for line in runtime.lines if line.startswith('{"check"')]
            assert {"status": "Succeeded"} == response.json()
            last_request = {"message": "request", "route": "/openapi.json"}
            assert version.log_line(lambda line: line.items() >= last_request.items(), wait_s=DEADLINE_S)
            logged = [line for line in version.lines if '"message":"request"' in line]
        assert len(logged) > len(rows) / 2
        assert logged == [line for line in logged if '"synthetic":true' in line]
        reported = {"deploymentId": "d-123", "lifecycleEventHookExecutionId": "execution", "status": "Succeeded"}
        assert [("CodeDeploy_20141006.PutLifecycleEventHookExecutionStatus", reported)] == codedeploy.requests
        assert all(row["passed"] for row in rows)
        assert {"GET /health", "POST /predict cat.jpg", "413 too_large: too many bytes"} < {
            row["check"] for row in rows
        }

    @pytest.mark.parametrize("name", ["IMAGE", "COMMIT"])
    def test_another_image_or_commit_fails(
        self, function, codedeploy: RecordingServer, hook_environment: pytest.MonkeyPatch, name: str, capsys
    ) -> None:
        """A version with another image or commit than the deployed one fails, and the log shows the difference."""
        hook_environment.setenv("AWS_ENDPOINT_URL_LAMBDA", function.runtime.endpoint)
        for other, value in function.environment.items():
            hook_environment.setenv(other, value)
        hook_environment.setenv(name, "another")
        assert {"status": "Failed"} == hook.handler(EVENT, CONTEXT)
        rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        assert [("GET /model/info", "another")] == [
            (row["check"], row["expected"][name.lower()]) for row in rows if not row["passed"]
        ]
        assert ["Failed"] == codedeploy.statuses

    def test_version_that_does_not_start_fails(
        self, codedeploy: RecordingServer, hook_environment: pytest.MonkeyPatch
    ) -> None:
        """A version whose handler cannot be imported fails."""
        with lambda_runtime("lambda_app.nothing.handler") as runtime:
            hook_environment.setenv("AWS_ENDPOINT_URL_LAMBDA", runtime.endpoint)
            assert {"status": "Failed"} == hook.handler(EVENT, CONTEXT)
        assert ["Failed"] == codedeploy.statuses


@pytest.mark.parametrize(
    ("answer", "headers", "message"),
    [
        (
            b'{"errorType": "Runtime.ExitError"}',
            {"X-Amz-Function-Error": "Unhandled"},
            'Unhandled error of the function: {"errorType": "Runtime.ExitError"}',
        ),
        (b'{"statusCode": 99}', {}, "MalformedResponse: statusCode 99: expected an integer from 200 to 599"),
        (b"no JSON", {}, "MalformedResponse: b'no JSON': expected JSON"),
    ],
)
def test_failed_invocation_is_logged(
    codedeploy: RecordingServer,
    hook_environment: pytest.MonkeyPatch,
    answer: bytes,
    headers: dict,
    message: str,
    capsys,
) -> None:
    """The log holds Lambda's error. A mock sends it, because the emulator never sends X-Amz-Function-Error."""
    with listening(RecordingServer(answer, headers)) as broken:
        hook_environment.setenv("AWS_ENDPOINT_URL_LAMBDA", broken.endpoint)
        assert {"status": "Failed"} == hook.handler(EVENT, CONTEXT)
    assert ["Failed"] == codedeploy.statuses
    [row] = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {"no answer": message} == row["actual"]


def test_unreachable_version_fails(
    codedeploy: RecordingServer, hook_environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A version that cannot be invoked fails within `WAIT_S`."""
    with refusing_url() as url:
        hook_environment.setenv("AWS_ENDPOINT_URL_LAMBDA", url)
        assert {"status": "Failed"} == hook.handler(EVENT, CONTEXT)
    assert ["Failed"] == codedeploy.statuses
    assert "EndpointConnectionError" in capsys.readouterr().out


def test_crash_of_hook_reports_failed(
    codedeploy: RecordingServer, hook_environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A hook that crashes still reports Failed, so that CodeDeploy does not wait for an hour."""

    def fail() -> None:
        raise GoldenError("golden.json: expected golden answers")

    hook_environment.setattr(hook.Golden, "read", fail)
    assert {"status": "Failed"} == hook.handler(EVENT, CONTEXT)
    assert ["Failed"] == codedeploy.statuses
    assert "GoldenError: golden.json: expected golden answers" in capsys.readouterr().out


def test_hook_without_time_left_reports_failed(
    codedeploy: RecordingServer, hook_environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A hook that Lambda is about to stop sends no further request, and reports Failed before it is stopped."""
    with listening(RecordingServer(b"")) as version:
        hook_environment.setenv("AWS_ENDPOINT_URL_LAMBDA", version.endpoint)
        assert {"status": "Failed"} == hook.handler(EVENT, SimpleNamespace(get_remaining_time_in_millis=lambda: 1000))
    assert ([], ["Failed"]) == (version.requests, codedeploy.statuses)
    [row] = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {"no answer": "not sent: Lambda is about to stop the hook"} == row["actual"]


def test_requests_after_the_deadline_are_not_sent(keys: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """The deadline also holds within a check that sends several requests. The clock is a mock."""
    clock = [0.0]
    monkeypatch.setattr(hook, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    with listening(RecordingServer(b'{"statusCode": 200}')) as version:
        monkeypatch.setenv("AWS_ENDPOINT_URL_LAMBDA", version.endpoint)
        ask = hook.lambda_client("function", deadline=10)
        assert 200 == ask(get("/")).status
        clock[0] = 10.1
        with pytest.raises(NoAnswer, match="not sent"):
            ask(get("/"))
    assert 1 == len(version.requests)
