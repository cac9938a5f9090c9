"""Provide a real Prometheus with the project's configuration that scrapes the app, and a real Alertmanager."""

import contextlib
import ipaddress
import os
import shutil
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx2
import pytest
import yaml

from tests.infra.monitoring.channel import serve_channel
from tests.support import ROOT
from tests.support.waiting import DEADLINE_S, wait_until

MONITORING = ROOT / "infra/containers/monitoring"
UNREACHABLE = "127.0.0.1:1"  # an instance that does not answer
# A loopback address of this process alone, so that no other process takes a port before its server starts.
HOST = str(ipaddress.ip_address("127.0.0.0") + os.getpid())
FRESH_S = 20  # the shortest rates cover five minutes


def free_port() -> int:
    with socket.create_server((HOST, 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


@contextlib.contextmanager
def running(*command: str, url: str) -> Iterator[httpx2.Client]:
    """Run a server until the context ends, and yield a client once `url` answers."""
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            with httpx2.Client(base_url=url.rsplit("/", 1)[0], trust_env=False, timeout=DEADLINE_S) as client:
                wait_until(lambda: process.poll() is not None or is_ready(client, url))
                assert process.poll() is None, f"{command[0]} ended with {process.returncode}"
                yield client
        finally:
            process.terminate()


def is_ready(client: httpx2.Client, url: str) -> bool:
    with contextlib.suppress(httpx2.TransportError):
        return client.get(url).is_success
    return False


def configure_prometheus(folder: Path, targets: list[str], alertmanager: str) -> Path:
    """Write the configuration with other targets and an interval of 1 s.

    Alerts fire without delay; the promtool test covers their durations.
    """
    config = yaml.safe_load((MONITORING / "prometheus.yml").read_text())
    config["global"] = dict.fromkeys(config["global"], "1s")
    [[static]] = [scrape["static_configs"] for scrape in config["scrape_configs"]]
    static["targets"] = targets
    [[static]] = [each["static_configs"] for each in config["alerting"]["alertmanagers"]]
    static["targets"] = [alertmanager]
    rules = {name: yaml.safe_load((MONITORING / name).read_text()) for name in config["rule_files"]}
    for rule in rules["alerts.yml"]["groups"][0]["rules"]:
        rule.pop("for", None)
    for name, content in (rules | {"prometheus.yml": config}).items():
        (folder / name).write_text(yaml.safe_dump(content))
    return folder / "prometheus.yml"


def configure_alertmanager(folder: Path, url: str) -> Path:
    """Write the configuration with a short group_wait, and the URL file with the newline that editors append."""
    config = yaml.safe_load((MONITORING / "alertmanager.yml").read_text())
    config["route"]["group_wait"] = "1s"
    [[slack]] = [receiver["slack_configs"] for receiver in config["receivers"]]
    slack["api_url_file"] = str(folder / "alert_url")
    (folder / "alert_url").write_text(f"{url}\n")
    (folder / "alertmanager.yml").write_text(yaml.safe_dump(config))
    return folder / "alertmanager.yml"


def require_program(name: str) -> str:
    if shutil.which(name) is None:
        pytest.skip(f"{name} is not installed")
    return name


@pytest.fixture(scope="session")
def promtool():
    return require_program("promtool")


@pytest.fixture(scope="session")
def amtool():
    return require_program("amtool")


@pytest.fixture(scope="session")
def watched(promtool, amtool, tmp_path_factory, cat_jpg):
    """Run the app, Prometheus, Alertmanager and a fake Slack channel.

    `send` sends traffic, most of it errors, and returns once Prometheus has evaluated it.
    """
    folder = tmp_path_factory.mktemp("prometheus")
    target, address, alertmanager = (f"{HOST}:{free_port()}" for _ in range(3))
    host, port = target.split(":")
    app = [sys.executable, "-m", "uvicorn", "lambda_app.handler:app", "--host", host, "--port", port]
    with (
        serve_channel(HOST) as slack_channel,
        running(*app, url=f"http://{target}/health") as client,
        running(
            "prometheus-alertmanager",  # the name of Debian's package
            f"--config.file={configure_alertmanager(folder, f'http://{HOST}:{slack_channel.server_port}')}",
            f"--storage.path={folder / 'alertmanager'}",
            f"--web.listen-address={alertmanager}",
            "--cluster.listen-address=",
            url=f"http://{alertmanager}/-/ready",
        ),
        running(
            "prometheus",
            f"--config.file={configure_prometheus(folder, [target, UNREACHABLE], alertmanager)}",
            f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address={address}",
            url=f"http://{address}/-/ready",
        ) as prometheus,
    ):

        def ask(path: str, **parameters: str) -> Any:
            return prometheus.get(f"http://{address}/api/v1/{path}", params=parameters).json()["data"]

        def query(expression: str) -> list[dict[str, Any]]:
            """Return the labels and the value of each series."""
            result = ask("query", query=expression)["result"]
            return [series["metric"] | {"value": float(series["value"][1])} for series in result]

        def send_and_wait() -> None:
            send(client, cat_jpg)
            wait_until(lambda: scraped(client, query))
            # Wait for two evaluations: alerts use the recording rules' values of one second before.
            deadline = datetime.now(UTC) + timedelta(seconds=2)
            wait_until(lambda: all(evaluated(group) > deadline for group in ask("rules")["groups"]))

        send_and_wait()  # the first value of a counter is not an increase
        yield SimpleNamespace(
            target=target, ask=ask, query=query, slack_channel=slack_channel, send=send_and_wait, sent=float("-inf")
        )


@pytest.fixture
def monitored(watched):
    """Return `watched` with traffic of the last seconds, however long earlier tests took."""
    if time.monotonic() - watched.sent > FRESH_S:
        watched.send()
        watched.sent = time.monotonic()
    return watched


def send(client: httpx2.Client, photo: bytes) -> None:
    """Send each kind of request, and more than the ten errors that ErrorRatio requires."""
    headers = {"content-type": "image/jpeg"}
    answer = client.post("/predict", content=photo, headers=headers).json()
    feedback = {"request_id": answer["request_id"], "label": answer["predicted_class"]}
    assert client.post("/feedback", json=feedback).is_success
    unmatched = feedback | {"request_id": str(uuid.uuid4())}
    assert client.post("/feedback", json=unmatched).is_success
    for _ in range(12):
        assert client.post("/predict", content=b"no photo", headers=headers).is_client_error


def evaluated(group: dict[str, Any]) -> datetime:
    return datetime.fromisoformat(group["lastEvaluation"])


def scraped(client: httpx2.Client, query: Callable[[str], list[dict[str, Any]]]) -> bool:
    """Return whether Prometheus has scraped the current counters of the app."""
    line = next(line for line in client.get("/metrics").text.splitlines() if line.startswith("feedback_total{"))
    return [float(line.split()[-1])] == [series["value"] for series in query("feedback_total")]
