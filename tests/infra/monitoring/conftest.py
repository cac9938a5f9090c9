"""A real Prometheus with our configuration, which scrapes the running app, and a real Alertmanager that it tells."""

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

from tests.infra.monitoring.channel import channel, wait_until

ROOT = Path(__file__).parents[3]
MONITORING = ROOT / "infra/containers/monitoring"
NOBODY = "127.0.0.1:1"  # an instance that does not answer
# An address of the loopback network that no other process uses: nobody takes a port of it while a server starts.
HOST = str(ipaddress.ip_address("127.0.0.0") + os.getpid())
FRESH_S = 20  # a dashboard's rates are those of the last minute


def free_port() -> int:
    with socket.create_server((HOST, 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


@contextlib.contextmanager
def running(*command: str, url: str) -> Iterator[httpx2.Client]:
    """A server until the context ends, and a client of it; it is ready when `url` answers."""
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            with httpx2.Client(base_url=url.rsplit("/", 1)[0], trust_env=False, timeout=300) as client:
                wait_until(lambda: process.poll() is not None or answers(client, url))
                assert process.poll() is None, f"{command[0]} ended with {process.returncode}"
                yield client
        finally:
            process.terminate()


def answers(client: httpx2.Client, url: str) -> bool:
    with contextlib.suppress(httpx2.TransportError):
        return client.get(url).is_success
    return False


def configured(folder: Path, targets: list[str], alertmanager: str) -> Path:
    """Our files with other targets, asked every second; what has to last rings at once, for promtool minds the time."""
    config = yaml.safe_load((MONITORING / "prometheus.yml").read_text())
    config["global"] = dict.fromkeys(config["global"], "1s")
    [[static]] = [scrape["static_configs"] for scrape in config["scrape_configs"]]
    static["targets"] = targets
    [[static]] = [told["static_configs"] for told in config["alerting"]["alertmanagers"]]
    static["targets"] = [alertmanager]
    rules = {name: yaml.safe_load((MONITORING / name).read_text()) for name in config["rule_files"]}
    for rule in rules["alerts.yml"]["groups"][0]["rules"]:
        rule.pop("for", None)
    for name, content in (rules | {"prometheus.yml": config}).items():
        (folder / name).write_text(yaml.safe_dump(content))
    return folder / "prometheus.yml"


def telling(folder: Path, url: str) -> Path:
    """Our Alertmanager's file, with a short wait for more alerts, and the operator's, as an editor leaves it."""
    config = yaml.safe_load((MONITORING / "alertmanager.yml").read_text())
    config["route"]["group_wait"] = "1s"
    [[slack]] = [receiver["slack_configs"] for receiver in config["receivers"]]
    slack["api_url_file"] = str(folder / "alert_url")
    (folder / "alert_url").write_text(f"{url}\n")
    (folder / "alertmanager.yml").write_text(yaml.safe_dump(config))
    return folder / "alertmanager.yml"


def installed(name: str) -> str:
    if shutil.which(name) is None:
        pytest.skip(f"{name} is not installed")
    return name


@pytest.fixture(scope="session")
def promtool():
    return installed("promtool")


@pytest.fixture(scope="session")
def amtool():
    return installed("amtool")


@pytest.fixture(scope="session")
def watched(promtool, amtool, tmp_path_factory, cat_jpg):
    """The app, what Prometheus says about it, a channel in place of the operator's, and `send`, which sends traffic of
    which most is errors, and returns when Prometheus has seen it.
    """
    folder = tmp_path_factory.mktemp("prometheus")
    target, address, alertmanager = (f"{HOST}:{free_port()}" for _ in range(3))
    host, port = target.split(":")
    app = [sys.executable, "-m", "uvicorn", "lambda_app.handler:app", "--host", host, "--port", port]
    with (
        channel(HOST) as operator,
        running(*app, url=f"http://{target}/health") as client,
        running(
            "prometheus-alertmanager",  # as Debian calls it
            f"--config.file={telling(folder, f'http://{HOST}:{operator.server_port}')}",
            f"--storage.path={folder / 'alertmanager'}",
            f"--web.listen-address={alertmanager}",
            "--cluster.listen-address=",
            url=f"http://{alertmanager}/-/ready",
        ),
        running(
            "prometheus",
            f"--config.file={configured(folder, [target, NOBODY], alertmanager)}",
            f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address={address}",
            url=f"http://{address}/-/ready",
        ) as asked,
    ):

        def ask(path: str, **parameters: str) -> Any:
            return asked.get(f"http://{address}/api/v1/{path}", params=parameters).json()["data"]

        def query(expression: str) -> list[dict[str, Any]]:
            """Labels and value of each series."""
            result = ask("query", query=expression)["result"]
            return [series["metric"] | {"value": float(series["value"][1])} for series in result]

        def send_and_wait() -> None:
            send(client, cat_jpg)
            wait_until(lambda: scraped(client, query))
            # Two evaluations: the alerts are asked beside the rules, and so about what these found a second before.
            seen = datetime.now(UTC) + timedelta(seconds=2)
            wait_until(lambda: all(evaluated(group) > seen for group in ask("rules")["groups"]))

        send_and_wait()  # what is counted for the first time is no increase yet
        yield SimpleNamespace(
            target=target, ask=ask, query=query, operator=operator, send=send_and_wait, sent=float("-inf")
        )


@pytest.fixture
def monitored(watched):
    """The same, with traffic of the last seconds, whatever ran before this test and however long that took."""
    if time.monotonic() - watched.sent > FRESH_S:
        watched.send()
        watched.sent = time.monotonic()
    return watched


def send(client: httpx2.Client, photo: bytes) -> None:
    """Each kind of request; ten errors and more, as ErrorRatio wants them."""
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
    """Whether Prometheus knows of all that the app has counted."""
    counted = next(line for line in client.get("/metrics").text.splitlines() if line.startswith("feedback_total{"))
    return [float(counted.split()[-1])] == [series["value"] for series in query("feedback_total")]
