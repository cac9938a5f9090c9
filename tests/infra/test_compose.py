"""Test infra/containers/compose.yaml: Docker Compose parses it and starts its services.

Grafana does not start here, because no package contains it; tests/infra/monitoring covers its dashboard. If the images
of Prometheus and Alertmanager cannot be pulled, Debian's packages replace them, with the same user and command.
"""

import functools
import json
import os
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from mlflow import MlflowClient

from lambda_app.settings import Settings
from tests.infra.image.container_image import layers
from tests.infra.monitoring.channel import Channel, serve_channel
from tests.support import ROOT
from tests.support.commands import execute, run
from tests.support.waiting import BUILD_SECONDS, DEADLINE_S, wait_until

COMPOSE_FILE = ROOT / "infra/containers/compose.yaml"
COMPOSE = ROOT / ".venv-audit/bin/docker-compose"
PROJECT = f"pet-classifier-test-{os.getpid()}"  # unique, because tests may run in parallel on a machine
RUNS_HERE = ("classifier", "mlflow", "prometheus", "alertmanager")
SERVICES = (*RUNS_HERE, "grafana")
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


@functools.cache
def services() -> dict[str, dict[str, Any]]:
    """Return the services as Docker Compose parses them."""
    configuration = json.loads(run(COMPOSE, "--file", COMPOSE_FILE, "config", "--format", "json"))
    return configuration["services"]


def target_port(service: str) -> int:
    [port] = services()[service]["ports"]
    return port["target"]


def test_services_are_complete():
    """The services are the classifier, MLflow and the monitoring."""
    assert {*SERVICES} == services().keys()


@pytest.mark.parametrize("name", SERVICES)
def test_services_are_hardened(name):
    """Each service is unprivileged, read-only, limited, and reachable only from this machine."""
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
def test_mounts_are_read_only_or_named_volumes(name):
    """Folders of this repository exist and are mounted read-only."""
    mounts = services()[name].get("volumes", [])
    assert [] == [m["source"] for m in mounts if m["type"] == "bind" and not Path(m["source"]).is_dir()]
    assert [] == [m for m in mounts if not (m["type"] == "volume" or m.get("read_only"))]


@pytest.mark.parametrize("name", SERVICES)
def test_images_are_pinned(name):
    """Images have an exact version, or are built from this checkout."""
    service = services()[name]
    assert (
        service["image"].endswith(":local") if "build" in service else re.search(r":v?\d+\.\d+\.\d+$", service["image"])
    )


def test_classifier_environment_is_valid():
    """The environment has settings of the function, and a CPU count that equals the limit."""
    service = services()["classifier"]
    assert service["environment"].keys() <= {name.upper() for name in Settings.model_fields} | {"PYTHON_CPU_COUNT"}
    assert int(service["deploy"]["resources"]["limits"]["cpus"]) == int(service["environment"]["PYTHON_CPU_COUNT"])


@pytest.fixture(scope="module")
def stand_ins(tmp_path_factory) -> dict[str, dict[str, Any]]:
    """Return the replacements of images that cannot be pulled."""
    if all(execute("docker", "pull", "--quiet", services()[n]["image"]).returncode == 0 for n in PROGRAMS):
        return {}
    folder = tmp_path_factory.mktemp("prometheus")
    (folder / "Dockerfile").write_text(STAND_IN)
    image = {"image": "pet-classifier-prometheus:test", "build": str(folder)}
    return {name: image | {"entrypoint": [program]} for name, program in PROGRAMS.items()}


@pytest.fixture(scope="module")
def slack_channel() -> Iterator[Channel]:
    """Yield a fake Slack channel on this machine that containers can reach."""
    with serve_channel("0.0.0.0") as served:
        yield served


@pytest.fixture(scope="module")
def compose(stand_ins, slack_channel, tmp_path_factory) -> tuple[str | Path, ...]:
    """Return the command for services on free ports, with an Alertmanager that notifies without delay."""
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
    (folder / "alert-url").write_text(f"http://operator:{slack_channel.server_port}\n")
    (folder / "variables").write_text(f"ALERT_URL_FILE={folder / 'alert-url'}\nCONTRIBUTIONS=/contributions\n")
    files = (f"--file={path}" for path in (COMPOSE_FILE, folder / "ports.yaml", folder / "services.json"))
    return COMPOSE, "--project-name", PROJECT, "--env-file", folder / "variables", *files


@pytest.fixture(scope="module")
def urls(compose) -> Iterator[dict[str, str]]:
    """Start the services, and yield their URLs once they are healthy."""
    run("infra/image/base_image.sh", seconds=BUILD_SECONDS)
    try:
        run(*compose, "up", "--detach", "--build", "--wait", *RUNS_HERE, seconds=BUILD_SECONDS)
        yield {name: "http://" + run(*compose, "port", name, str(target_port(name))).strip() for name in RUNS_HERE}
    finally:
        execute(*compose, "down", "--volumes")


def get(url: str, **parameters: str) -> Any:
    return httpx2.get(url, params=parameters, timeout=DEADLINE_S, trust_env=False).raise_for_status()


@pytest.mark.docker
def test_classifier_passes_the_smoke_test(urls):
    """The hardened container answers like the function."""
    done = execute(sys.executable, "-m", "infra.smoke", urls["classifier"])
    assert 0 == done.returncode, done.stdout


LIST_CONTRIBUTIONS = "import pathlib; print(*(p.name for p in pathlib.Path('/contributions').rglob('*.*')))"


@pytest.mark.docker
def test_classifier_keeps_contributed_photos(urls, compose, cat_jpg):
    """The unprivileged process writes a photo and its metadata to the volume, and the page offers to share photos."""
    fields = {"label": "cat", "request_id": "11111111-2222-3333-4444-555555555555", "consent": "true"}
    answer = httpx2.post(
        f"{urls['classifier']}/feedback", data=fields, files={"file": cat_jpg}, timeout=DEADLINE_S, trust_env=False
    )
    digest = answer.raise_for_status().json()["contribution"]
    listed = run(*compose, "exec", "-T", "classifier", "/usr/bin/python3", "-c", LIST_CONTRIBUTIONS).split()
    assert {f"{digest}.jpg", f"{digest}.json"} <= set(listed)
    page = httpx2.get(urls["classifier"], headers={"accept": "text/html"}, timeout=DEADLINE_S, trust_env=False).text
    assert '"contributions": true' in page


def test_contributions_are_off_by_default():
    """Without the variable, the classifier keeps no photos."""
    assert "" == services()["classifier"]["environment"]["CONTRIBUTIONS"]


@pytest.mark.docker
def test_prometheus_scrapes_the_classifier(urls):
    """Prometheus loads its rules, scrapes the classifier and finds Alertmanager."""

    def target() -> dict[str, str]:
        [found] = get(f"{urls['prometheus']}/api/v1/targets").json()["data"]["activeTargets"]
        return found

    wait_until(lambda: "up" == target()["health"])  # not after the first scrape, if the classifier started later
    assert "" == target()["lastError"]
    assert get(f"{urls['prometheus']}/api/v1/rules").json()["data"]["groups"]
    found = get(f"{urls['prometheus']}/api/v1/alertmanagers").json()["data"]["activeAlertmanagers"]
    assert [f"http://alertmanager:{target_port('alertmanager')}/api/v2/alerts"] == [each["url"] for each in found]


@pytest.mark.docker
def test_mlflow_keeps_runs_and_artifacts(urls):
    """The server returns logged metrics and artifacts, and serves its web UI."""
    assert "OK" == get(f"{urls['mlflow']}/health").text
    assert "<!doctype html>" == get(urls["mlflow"]).text[:15]
    client = MlflowClient(urls["mlflow"])
    run_id = client.create_run(client.create_experiment("test")).info.run_id
    client.log_metric(run_id, "accuracy", 0.99)
    client.log_text(run_id, "kept", "note.txt")
    assert {"accuracy": 0.99} == client.get_run(run_id).data.metrics
    assert ["note.txt"] == [file.path for file in client.list_artifacts(run_id)]


@pytest.mark.docker
def test_classifier_image_extends_the_function_image(urls):
    """The first layers of the classifier's image are those of the function's image."""
    function = run("docker", "build", "--quiet", "--file", "Dockerfile.lambda", "--target", "function", ".").strip()
    expected = layers(function)
    assert expected == layers(services()["classifier"]["image"])[: len(expected)]


@pytest.mark.docker
def test_trial_alert_reaches_the_operator(urls, compose, slack_channel):
    """`make compose-alert` sends an alert through Alertmanager to the URL in the operator's file."""
    run("make", "compose-alert", f"COMPOSE={shlex.join(map(str, compose))}")
    wait_until(lambda: "FIRING: Trial" in slack_channel.texts())
    assert "A trial: nothing is wrong.\n" == slack_channel.texts()["FIRING: Trial"]
