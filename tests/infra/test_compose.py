"""infra/containers/compose.yaml: read by Docker Compose itself, and started.

Everything in it runs here but Grafana, which no package carries; what its dashboard asks is tests/infra/monitoring's.
Where the images of Prometheus and Alertmanager cannot be pulled, Debian's stand in for them, as the same user and with
the same command.
"""

import functools
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from mlflow import MlflowClient

from lambda_app.settings import Settings
from tests.infra.monitoring.channel import Channel, channel, wait_until

ROOT = Path(__file__).parents[2]
COMPOSE_FILE = ROOT / "infra/containers/compose.yaml"
COMPOSE = ROOT / ".venv-audit/bin/docker-compose"
PROJECT = f"pet-classifier-test-{os.getpid()}"  # another run may be at work on this machine
RUNS_HERE = ("classifier", "mlflow", "prometheus", "alertmanager")
SERVICES = (*RUNS_HERE, "grafana")
BUILD_SECONDS = 1800  # 90 measured, with nothing built before
STAND_IN = """
FROM debian:trixie-slim
WORKDIR /tmp
RUN apt-get update && apt-get download prometheus promtool prometheus-alertmanager \
    && for deb in *.deb; do dpkg-deb --extract "$deb" / || exit 1; done && rm *.deb
RUN install --directory --owner 65534 --group 65534 /prometheus /alertmanager
"""
PROGRAMS = {"prometheus": "/usr/bin/prometheus", "alertmanager": "/usr/bin/prometheus-alertmanager"}

pytestmark = [
    pytest.mark.process,
    pytest.mark.skipif(not COMPOSE.exists(), reason="Docker Compose is not installed in .venv-audit"),
]


def execute(*command: str | Path, seconds: float = 600) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        check=False,
        cwd=ROOT,
        env=os.environ | {"BUILDX_NO_DEFAULT_ATTESTATIONS": "1"},
        capture_output=True,
        text=True,
        timeout=seconds,
    )


def run(*command: str | Path, seconds: float = 600) -> str:
    done = execute(*command, seconds=seconds)
    assert done.returncode == 0, f"{command}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    return done.stdout


@functools.cache
def services() -> dict[str, dict[str, Any]]:
    """As Docker Compose understands them."""
    configuration = json.loads(run(COMPOSE, "--file", COMPOSE_FILE, "config", "--format", "json"))
    return configuration["services"]


def target_port(service: str) -> int:
    [port] = services()[service]["ports"]
    return port["target"]


def test_valid():
    """By the schema of the Compose specification; that Docker Compose takes it every other test shows."""
    check = ROOT / ".venv-audit/bin/check-jsonschema"
    assert 0 == execute(check, "--builtin-schema", "vendor.compose-spec", COMPOSE_FILE).returncode


def test_services():
    """The classifier and what watches it."""
    assert {*SERVICES} == services().keys()


@pytest.mark.parametrize("name", SERVICES)
def test_contained(name):
    """Not root, nothing to write to but volumes, no rights, limits, and reached from this machine alone."""
    service = services()[name]
    assert re.fullmatch(r"[1-9]\d*:\d+", service["user"])
    assert (True, ["ALL"], ["no-new-privileges:true"]) == (
        service["read_only"],
        service["cap_drop"],
        service["security_opt"],
    )
    assert {"cpus", "memory", "pids"} == service["deploy"]["resources"]["limits"].keys()
    assert {"127.0.0.1"} == {port["host_ip"] for port in service["ports"]}


@pytest.mark.parametrize("name", SERVICES)
def test_mounts(name):
    """Folders of this repository are there and read only; everything else is a named volume."""
    mounts = services()[name].get("volumes", [])
    assert [] == [m["source"] for m in mounts if m["type"] == "bind" and not Path(m["source"]).is_dir()]
    assert [] == [m for m in mounts if not (m["type"] == "volume" or m.get("read_only"))]


@pytest.mark.parametrize("name", SERVICES)
def test_images_are_pinned(name):
    """By the exact version, or made of this checkout."""
    service = services()[name]
    assert (
        service["image"].endswith(":local") if "build" in service else re.search(r":v?\d+\.\d+\.\d+$", service["image"])
    )


def test_environment_of_the_classifier():
    """Settings of the function, and the number of CPUs that it may use."""
    service = services()["classifier"]
    assert service["environment"].keys() <= {name.upper() for name in Settings.model_fields} | {"PYTHON_CPU_COUNT"}
    assert int(service["deploy"]["resources"]["limits"]["cpus"]) == int(service["environment"]["PYTHON_CPU_COUNT"])


@pytest.fixture(scope="module")
def stand_ins(tmp_path_factory) -> dict[str, dict[str, Any]]:
    """What replaces the images where they cannot be pulled."""
    if shutil.which("docker") is None or execute("docker", "info").returncode:
        pytest.skip("no Docker engine answers")
    if all(execute("docker", "pull", "--quiet", services()[n]["image"]).returncode == 0 for n in PROGRAMS):
        return {}
    folder = tmp_path_factory.mktemp("prometheus")
    (folder / "Dockerfile").write_text(STAND_IN)
    image = {"image": "pet-classifier-prometheus:test", "build": str(folder)}
    return {name: image | {"entrypoint": [program]} for name, program in PROGRAMS.items()}


@pytest.fixture(scope="module")
def operator() -> Iterator[Channel]:
    """Whom the file of the operator names: a channel on this machine, which containers reach too."""
    with channel("0.0.0.0") as told:
        yield told


@pytest.fixture(scope="module")
def compose(stand_ins, operator, tmp_path_factory) -> tuple[str | Path, ...]:
    """The command, for services on free ports, of which Alertmanager does not wait for more alerts."""
    folder = tmp_path_factory.mktemp("compose")
    ports = "\n".join(f"  {name}: {{ports: !override ['127.0.0.1::{target_port(name)}']}}" for name in RUNS_HERE)
    (folder / "ports.yaml").write_text(f"services:\n{ports}\n")
    config = (ROOT / "infra/containers/monitoring/alertmanager.yml").read_text()
    (folder / "alertmanager.yml").write_text(config.replace("group_wait: 20s", "group_wait: 0s"))
    alertmanager = stand_ins.get("alertmanager", {}) | {
        "extra_hosts": ["operator:host-gateway"],
        "volumes": [f"{folder / 'alertmanager.yml'}:/etc/alertmanager/alertmanager.yml:ro"],
    }
    (folder / "services.json").write_text(json.dumps({"services": stand_ins | {"alertmanager": alertmanager}}))
    (folder / "alert-url").write_text(f"http://operator:{operator.server_port}\n")
    (folder / "variables").write_text(f"ALERT_URL_FILE={folder / 'alert-url'}\n")
    files = (f"--file={path}" for path in (COMPOSE_FILE, folder / "ports.yaml", folder / "services.json"))
    return COMPOSE, "--project-name", PROJECT, "--env-file", folder / "variables", *files


@pytest.fixture(scope="module")
def urls(compose) -> Iterator[dict[str, str]]:
    """Of the services, started and healthy."""
    run("infra/emulator/base_image.sh", seconds=BUILD_SECONDS)
    try:
        run(*compose, "up", "--detach", "--build", "--wait", *RUNS_HERE, seconds=BUILD_SECONDS)
        yield {name: "http://" + run(*compose, "port", name, str(target_port(name))).strip() for name in RUNS_HERE}
    finally:
        execute(*compose, "down", "--volumes")


def get(url: str, **parameters: str) -> Any:
    return httpx2.get(url, params=parameters, timeout=60, trust_env=False).raise_for_status()


@pytest.mark.docker
def test_the_classifier_passes_the_smoke_test(urls):
    """Behind uvicorn, contained as it is, it answers everything that the function answers."""
    done = execute(sys.executable, "-m", "infra.smoke", urls["classifier"])
    assert 0 == done.returncode, done.stdout


@pytest.mark.docker
def test_prometheus_scrapes_the_classifier(urls):
    """With its own configuration and rules, and it finds Alertmanager."""
    asked = f"{urls['prometheus']}/api/v1/query"
    wait_until(lambda: get(asked, query="up").json()["data"]["result"])
    [target] = get(f"{urls['prometheus']}/api/v1/targets").json()["data"]["activeTargets"]
    assert ("up", "") == (target["health"], target["lastError"])
    assert get(f"{urls['prometheus']}/api/v1/rules").json()["data"]["groups"]
    found = get(f"{urls['prometheus']}/api/v1/alertmanagers").json()["data"]["activeAlertmanagers"]
    assert [f"http://alertmanager:{target_port('alertmanager')}/api/v2/alerts"] == [each["url"] for each in found]


@pytest.mark.docker
def test_mlflow_keeps_runs_and_artifacts(urls):
    """What a training logs there comes back, and its pages are there."""
    assert "OK" == get(f"{urls['mlflow']}/health").text
    assert "<!doctype html>" == get(urls["mlflow"]).text[:15]
    client = MlflowClient(urls["mlflow"])
    run_id = client.create_run(client.create_experiment("rehearsal")).info.run_id
    client.log_metric(run_id, "accuracy", 0.99)
    client.log_text(run_id, "kept", "note.txt")
    assert {"accuracy": 0.99} == client.get_run(run_id).data.metrics
    assert ["note.txt"] == [file.path for file in client.list_artifacts(run_id)]


@pytest.mark.docker
def test_the_classifier_is_the_function_behind_another_server(urls):
    """Its image begins with the function's layers, all of them."""
    function = run("docker", "build", "--quiet", "--file", "Dockerfile.lambda", "--target", "function", ".").strip()
    layers = [
        json.loads(run("docker", "image", "inspect", "--format", "{{json .RootFS.Layers}}", image))
        for image in (function, services()["classifier"]["image"])
    ]
    assert layers[0] == layers[1][: len(layers[0])]


@pytest.mark.docker
def test_a_trial_alert_reaches_the_operator(urls, compose, operator):
    """Sent as an operator sends it, by the Alertmanager that is contained and reads the operator's file."""
    run("make", "compose-alert", f"COMPOSE={shlex.join(map(str, compose))}")
    wait_until(lambda: operator.messages)
    assert {"FIRING: Trial": "A trial: nothing is wrong.\n"} == operator.texts()
