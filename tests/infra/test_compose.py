"""infra/compose.yaml: read by Docker Compose itself, and started.

Everything in it runs here but Grafana, which no package carries; what its dashboard asks is tests/infra/monitoring's.
Where Prometheus' own image cannot be pulled, Debian's Prometheus stands in for it, in an image of the same user and
command.
"""

import functools
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
import yaml
from mlflow import MlflowClient

from lambda_app.settings import Settings

ROOT = Path(__file__).parents[2]
COMPOSE_FILE = ROOT / "infra/compose.yaml"
COMPOSE = ROOT / ".venv-audit/bin/docker-compose"
PROJECT = "pet-classifier-test"
RUNS_HERE = ("classifier", "mlflow", "prometheus")
SERVICES = (*RUNS_HERE, "grafana")
BUILD_SECONDS = 600  # 90 measured, with nothing built before
SCRAPE_SECONDS = 60  # it scrapes every 15
STAND_IN = """
FROM debian:trixie-slim
WORKDIR /tmp
RUN apt-get update && apt-get download prometheus promtool \
    && for deb in *.deb; do dpkg-deb --extract "$deb" / || exit 1; done && rm *.deb
RUN install --directory --owner 65534 --group 65534 /prometheus
USER 65534:65534
ENTRYPOINT ["/usr/bin/prometheus"]
"""

pytestmark = pytest.mark.skipif(not COMPOSE.exists(), reason="Docker Compose is not installed in .venv-audit")


def execute(*command: str | Path, seconds: float = 60) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        check=False,
        cwd=ROOT,
        env=os.environ | {"BUILDX_NO_DEFAULT_ATTESTATIONS": "1"},
        capture_output=True,
        text=True,
        timeout=seconds,
    )


def run(*command: str | Path, seconds: float = 60) -> str:
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


def test_the_services_find_each_other():
    """Prometheus scrapes the classifier, Grafana asks Prometheus: by the names and ports that they have here."""
    [scrape] = yaml.safe_load((ROOT / "infra/monitoring/prometheus.yml").read_text())["scrape_configs"]
    assert [f"classifier:{target_port('classifier')}"] == scrape["static_configs"][0]["targets"]
    [source] = yaml.safe_load((ROOT / "infra/monitoring/grafana/datasources/prometheus.yml").read_text())["datasources"]
    assert f"http://prometheus:{target_port('prometheus')}" == source["url"]


@pytest.fixture(scope="module")
def stand_in(tmp_path_factory) -> dict[str, Any]:
    """What replaces Prometheus' image where it cannot be pulled."""
    if execute("docker", "pull", "--quiet", services()["prometheus"]["image"], seconds=300).returncode == 0:
        return {}
    folder = tmp_path_factory.mktemp("prometheus")
    (folder / "Dockerfile").write_text(STAND_IN)
    return {"image": "pet-classifier-prometheus:test", "build": str(folder)}


@pytest.fixture(scope="module")
def urls(stand_in, tmp_path_factory) -> Iterator[dict[str, str]]:
    """Of the services, started and healthy, on free ports."""
    if shutil.which("docker") is None or execute("docker", "info").returncode:
        pytest.skip("no Docker engine answers")
    ports = "\n".join(f"  {name}: {{ports: !override ['127.0.0.1::{target_port(name)}']}}" for name in RUNS_HERE)
    override = tmp_path_factory.mktemp("compose") / "override.yaml"
    override.write_text(f"services:\n{ports}\n")
    second = override.with_name("stand-in.json")
    second.write_text(json.dumps({"services": {"prometheus": stand_in}}))
    compose = (COMPOSE, "--project-name", PROJECT, *(f"--file={path}" for path in (COMPOSE_FILE, override, second)))
    run("infra/local/base_image.sh", seconds=BUILD_SECONDS)
    try:
        run(*compose, "up", "--detach", "--build", "--wait", *RUNS_HERE, seconds=BUILD_SECONDS)
        yield {name: "http://" + run(*compose, "port", name, str(target_port(name))).strip() for name in RUNS_HERE}
    finally:
        execute(*compose, "down", "--volumes", seconds=120)


def get(url: str, **parameters: str) -> Any:
    return httpx2.get(url, params=parameters, timeout=10, trust_env=False).raise_for_status()


@pytest.mark.docker
def test_the_classifier_passes_the_smoke_test(urls):
    """Behind uvicorn, contained as it is, it answers everything that the function answers."""
    done = execute(sys.executable, "-m", "infra.smoke_test", urls["classifier"])
    assert 0 == done.returncode, done.stdout


@pytest.mark.docker
def test_prometheus_scrapes_the_classifier(urls):
    """With its own configuration and rules."""
    deadline = time.monotonic() + SCRAPE_SECONDS
    while not get(f"{urls['prometheus']}/api/v1/query", query="up").json()["data"]["result"]:
        assert time.monotonic() < deadline, f"not one scrape within {SCRAPE_SECONDS} s"
        time.sleep(0.5)
    [target] = get(f"{urls['prometheus']}/api/v1/targets").json()["data"]["activeTargets"]
    assert ("up", "") == (target["health"], target["lastError"])
    assert get(f"{urls['prometheus']}/api/v1/rules").json()["data"]["groups"]


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
