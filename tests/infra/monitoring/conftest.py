"""A real Prometheus with our configuration, which scrapes the running app."""

import contextlib
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx2
import pytest
import yaml

ROOT = Path(__file__).parents[3]
MONITORING = ROOT / "infra/monitoring"
NOBODY = "127.0.0.1:1"  # an instance that does not answer


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def wait_until(there: Callable[[], Any], seconds: float = 30) -> Any:
    """What `there` returns, as soon as it is true."""
    deadline = time.monotonic() + seconds
    while not (found := there()):
        assert time.monotonic() < deadline, f"not within {seconds} seconds: {there}"
        time.sleep(0.1)
    return found


@contextlib.contextmanager
def running(*command: str, url: str) -> Iterator[httpx2.Client]:
    """A server until the context ends, and a client of it; it is ready when `url` answers."""
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            with httpx2.Client(base_url=url.rsplit("/", 1)[0], trust_env=False, timeout=10) as client:
                wait_until(lambda: process.poll() is not None or answers(client, url))
                assert process.poll() is None, f"{command[0]} ended with {process.returncode}"
                yield client
        finally:
            process.terminate()


def answers(client: httpx2.Client, url: str) -> bool:
    with contextlib.suppress(httpx2.TransportError):
        return client.get(url).is_success
    return False


def configured(folder: Path, targets: list[str]) -> Path:
    """Our files with other targets, asked every second; what has to last rings at once, for promtool minds the time."""
    config = yaml.safe_load((MONITORING / "prometheus.yml").read_text())
    config["global"] = dict.fromkeys(config["global"], "1s")
    [[static]] = [scrape["static_configs"] for scrape in config["scrape_configs"]]
    static["targets"] = targets
    rules = {name: yaml.safe_load((MONITORING / name).read_text()) for name in config["rule_files"]}
    for rule in rules["alerts.yml"]["groups"][0]["rules"]:
        rule.pop("for", None)
    for name, content in (rules | {"prometheus.yml": config}).items():
        (folder / name).write_text(yaml.safe_dump(content))
    return folder / "prometheus.yml"


@pytest.fixture(scope="session")
def promtool():
    if shutil.which("promtool") is None:
        pytest.skip("promtool is not installed")
    return "promtool"


@pytest.fixture(scope="session")
def monitored(promtool, tmp_path_factory, cat_jpg):
    """The app and what Prometheus says about it, after traffic of which most is errors."""
    folder = tmp_path_factory.mktemp("prometheus")
    target, address = f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
    host, port = target.split(":")
    app = [sys.executable, "-m", "uvicorn", "lambda_app.handler:app", "--host", host, "--port", port]
    config = configured(folder, [target, NOBODY])
    prometheus = ["prometheus", f"--config.file={config}", f"--storage.tsdb.path={folder / 'data'}"]
    with (
        running(*app, url=f"http://{target}/health") as client,
        running(*prometheus, f"--web.listen-address={address}", url=f"http://{address}/-/ready") as asked,
    ):

        def ask(path: str, **parameters: str) -> Any:
            return asked.get(f"http://{address}/api/v1/{path}", params=parameters).json()["data"]

        def query(expression: str) -> list[dict[str, Any]]:
            """Labels and value of each series."""
            result = ask("query", query=expression)["result"]
            return [series["metric"] | {"value": float(series["value"][1])} for series in result]

        for _ in range(2):  # what is counted for the first time is no increase yet
            send(client, cat_jpg)
            wait_until(lambda: scraped(client, query))
        # Two evaluations: the alerts are asked beside the rules, and so about what these found a second before.
        seen = datetime.now(UTC) + timedelta(seconds=2)
        wait_until(lambda: all(evaluated(group) > seen for group in ask("rules")["groups"]))
        yield SimpleNamespace(target=target, ask=ask, query=query)


def send(client: httpx2.Client, photo: bytes) -> None:
    """Each kind of request; ten errors and more, as ErrorRatio wants them."""
    headers = {"content-type": "image/jpeg"}
    answer = client.post("/predict", content=photo, headers=headers).json()
    feedback = {"request_id": answer["request_id"], "label": answer["predicted_class"]}
    assert client.post("/feedback", json=feedback).is_success
    for _ in range(12):
        assert client.post("/predict", content=b"no photo", headers=headers).is_client_error


def evaluated(group: dict[str, Any]) -> datetime:
    return datetime.fromisoformat(group["lastEvaluation"])


def scraped(client: httpx2.Client, query: Callable[[str], list[dict[str, Any]]]) -> bool:
    """Whether Prometheus knows of all that the app has counted."""
    counted = next(line for line in client.get("/metrics").text.splitlines() if line.startswith("feedback_total{"))
    return [float(counted.split()[-1])] == [series["value"] for series in query("feedback_total")]
