"""A rehearsal of the deployment in LocalStack: the stack is created, and the function works among AWS's services.

Exit code 0 only if all of it worked.
"""

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import httpx2
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from botocore.session import Session

from infra.emulator.function_url import create_app
from infra.emulator.invoke import invoke_url
from infra.emulator.runtime import ROOT, RuntimeDied, RuntimeNotFound, lambda_runtime
from infra.emulator.serve import background, local_app
from infra.localstack.container import Container, ContainerFailed, localstack, run
from infra.localstack.stack import NAME, REGION, Deployment, DeploymentFailed, deploy
from infra.localstack.work import NAME as BUCKET
from infra.localstack.work import WorkFailed, classify, read_log, read_metrics, send, write_log, write_metrics
from infra.markdown import table

PHOTOS = sorted((ROOT / "data/samples").glob("*.jpg"))
# LocalStack takes any keys. The function gets them too: whatever it called would not reach a real account.
KEYS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
FAILURES = (
    *(ContainerFailed, DeploymentFailed, RuntimeDied, RuntimeNotFound, WorkFailed),
    *(BotoCoreError, ClientError, OSError, httpx2.HTTPError),
)
NOT_PUSHED = f"{NAME}@sha256:{'0' * 64}"  # where no function can run, nobody fetches its image

Client = Callable[[str], Any]


@dataclass(frozen=True)
class Check:
    name: str
    passed: bool
    seen: str


def clients(endpoint: str) -> Client:
    """A client of any AWS service in LocalStack, never through a proxy."""
    session = Session()
    session.set_credentials(*KEYS.values())
    return partial(session.create_client, region_name=REGION, endpoint_url=endpoint, config=Config(proxies={}))


def rehearse(container: Container) -> list[Check]:
    client = clients(container.endpoint)
    image = push(client) if container.licensed else NOT_PUSHED
    deployment = deploy(client("cloudformation"), {"ImageUri": image, "PhotosBucket": BUCKET, "ResultsBucket": BUCKET})
    explain(deployment, container.version)
    counts = f"{len(deployment.resources)} resources, {len(deployment.left_out)} left out"
    answers = ask(client, deployment, container.endpoint)
    shown = ", ".join(f"{answer['key']} {answer['predicted_class']} {answer['confidence']:.3f}" for answer in answers)
    answered = Check("answers", [photo.name for photo in PHOTOS] == sorted(answer["key"] for answer in answers), shown)
    log_group, request_ids = deployment.outputs["LogGroup"], {answer["request_id"] for answer in answers}
    return [Check("stack", True, counts), answered, *telemetry(client, log_group, request_ids)]


def push(client: Client) -> str:
    """The image by its digest, in LocalStack's own registry."""
    repository = client("ecr").create_repository(repositoryName=NAME)["repository"]["repositoryUri"]
    return run("make", "--no-print-directory", "push", f"REPOSITORY={repository}").splitlines()[-1]


def explain(deployment: Deployment, version: str) -> None:
    if deployment.reason:
        reason = " ".join(deployment.reason.split())
        print(f"LocalStack {version} runs no image functions ({reason}): the function runs under Lambda's emulator")
        print(f"Left out: {', '.join(deployment.left_out)}")
    if deployment.noted:
        print(f"Written down by LocalStack, but not made: {', '.join(deployment.noted)}")


def ask(client: Client, deployment: Deployment, endpoint: str) -> list[dict[str, Any]]:
    """The answers to the photos, of the function as it was deployed, else under the emulator."""
    s3, sqs = client("s3"), client("sqs")
    queue = send(s3, sqs, PHOTOS)
    if not deployment.reason:
        with background(create_app(invoke_url(endpoint, deployment.outputs["FunctionName"]))) as url:
            return classify(s3, sqs, queue, url)
    environment = KEYS | {"AWS_ENDPOINT_URL": endpoint}
    with lambda_runtime(env=environment) as runtime, background(local_app(runtime.endpoint)) as url:
        answers = classify(s3, sqs, queue, url)
        last = answers[-1]["request_id"]
        runtime.log_line(lambda record: record.get("request_id") == last and "Errors" in record)  # its last line
        write_log(client("logs"), deployment.outputs["LogGroup"], runtime.lines)
    return answers


def telemetry(client: Client, log_group: str, request_ids: set[str]) -> list[Check]:
    """Whether each request left its line in the log, and its metrics."""
    records = read_log(client("logs"), log_group, request_ids)
    logged = [record for record in records if record.get("message") == "request"]
    write_metrics(client("cloudwatch"), [record for record in records if "_aws" in record])
    metrics = read_metrics(client("cloudwatch"))
    rows = [(name, f"{count:.0f}", f"{total:.1f}") for name, (count, total) in sorted(metrics.items())]
    print(table(("metric", "values", "sum"), rows))
    wanted, (_, predictions) = len(request_ids), metrics.get("Predictions", (0, 0))
    return [
        Check("log", len(logged) == wanted, f"{len(logged)} of {wanted} requests have their line in {log_group}"),
        Check("metrics", predictions == wanted, f"{predictions:.0f} of {wanted} predictions were counted"),
    ]


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m infra.localstack", description=__doc__)
    parser.add_argument("--keep", action="store_true", help="leave LocalStack running")
    keep = parser.parse_args(arguments).keep
    try:
        with localstack(keep=keep) as container:
            until = f"until `docker rm --force {container.name}`" if keep else "until this is done"
            print(f"LocalStack {container.version} on {container.endpoint}, {until}", flush=True)
            checks = rehearse(container)
    except FAILURES as error:
        print(f"localstack: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    for check in checks:
        print(f"{'PASS' if check.passed else 'FAIL'} {check.name}: {check.seen}")
    return 0 if all(check.passed for check in checks) else 1


if __name__ == "__main__":
    sys.exit(main())
