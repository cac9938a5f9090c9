"""Deploy the stack to LocalStack, and classify photos with its S3, SQS and CloudWatch.

Exits with 1 if a check fails.
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

from infra import ROOT
from infra.emulator.function_url import create_app
from infra.emulator.invoke import invoke_url
from infra.emulator.process import CommandFailed, run_command
from infra.emulator.runtime import RuntimeDied, RuntimeNotFound, lambda_runtime
from infra.emulator.serve import background, local_app
from infra.localstack.container import Container, ContainerFailed, localstack
from infra.localstack.deployment import REGION, STACK, Deployment, DeploymentFailed, deploy
from infra.localstack.photo_queue import (
    BUCKET,
    ClassificationFailed,
    classify,
    read_log,
    read_metrics,
    send,
    write_log,
    write_metrics,
)
from infra.markdown import table

PHOTOS = sorted((ROOT / "data/samples").glob("*.jpg"))
# LocalStack accepts any keys. The function gets them too, so that it can never call a real account.
KEYS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
FAILURES = (
    *(CommandFailed, ContainerFailed, DeploymentFailed, RuntimeDied, RuntimeNotFound, ClassificationFailed),
    *(BotoCoreError, ClientError, OSError, httpx2.HTTPError),
)
NOT_PUSHED = (
    f"{STACK}@sha256:{'0' * 64}"  # a placeholder: LocalStack without a token runs no functions and pulls no image
)

ClientFactory = Callable[[str], Any]


@dataclass(frozen=True)
class Check:
    name: str
    passed: bool
    details: str


def make_client_factory(endpoint: str) -> ClientFactory:
    """Return a factory for clients of LocalStack's services, which ignore proxies."""
    session = Session()
    session.set_credentials(*KEYS.values())
    return partial(session.create_client, region_name=REGION, endpoint_url=endpoint, config=Config(proxies={}))


def check_deployment(container: Container) -> list[Check]:
    """Deploy the stack, classify the photos, and return the checks of stack, answers, log and metrics."""
    create_client = make_client_factory(container.endpoint)
    image = push(create_client) if container.licensed else NOT_PUSHED
    parameters = {"ImageUri": image, "PhotosBucket": BUCKET, "ResultsBucket": BUCKET, "ContributionsBucket": "on"}
    deployment = deploy(create_client("cloudformation"), parameters)
    print_limitations(deployment, container.version)
    counts = f"{len(deployment.resources)} resources, {len(deployment.left_out)} left out"
    answers = classify_photos(create_client, deployment, container.endpoint)
    predictions = ", ".join(
        f"{answer['key']} {answer['predicted_class']} {answer['confidence']:.3f}" for answer in answers
    )
    is_complete = [photo.name for photo in PHOTOS] == sorted(answer["key"] for answer in answers)
    log_group, request_ids = deployment.outputs["LogGroup"], {answer["request_id"] for answer in answers}
    return [
        Check("stack", True, counts),
        Check("answers", is_complete, predictions),
        *check_telemetry(create_client, log_group, request_ids),
    ]


def push(create_client: ClientFactory) -> str:
    """Push the image to LocalStack's registry and return its URI with digest."""
    repository = create_client("ecr").create_repository(repositoryName=STACK)["repository"]["repositoryUri"]
    return run_command("make", "--no-print-directory", "push", f"REPOSITORY={repository}").splitlines()[-1]


def print_limitations(deployment: Deployment, version: str) -> None:
    """Print what LocalStack did not deploy."""
    if deployment.reason:
        reason = " ".join(deployment.reason.split())
        print(
            f"LocalStack {version} runs no image functions ({reason}); the function runs in Lambda's emulator instead"
        )
        print(f"Left out: {', '.join(deployment.left_out)}")
    if deployment.recorded:
        print(f"Recorded by LocalStack, but not created: {', '.join(deployment.recorded)}")


def classify_photos(create_client: ClientFactory, deployment: Deployment, endpoint: str) -> list[dict[str, Any]]:
    """Return the predictions for the photos, by the deployed function or, if there is none, in the emulator."""
    s3, sqs = create_client("s3"), create_client("sqs")
    queue = send(s3, sqs, PHOTOS)
    if not deployment.reason:
        with background(create_app(invoke_url(endpoint, deployment.outputs["FunctionName"]))) as url:
            return classify(s3, sqs, queue, url)
    environment = KEYS | {"AWS_ENDPOINT_URL": endpoint}
    with lambda_runtime(env=environment) as runtime, background(local_app(runtime)) as url:
        answers = classify(s3, sqs, queue, url)
        last = answers[-1]["request_id"]
        # Wait for the metrics, which are the last line of a request.
        runtime.log_line(lambda record: record.get("request_id") == last and "Errors" in record)
        write_log(create_client("logs"), deployment.outputs["LogGroup"], runtime.lines)
    return answers


def check_telemetry(create_client: ClientFactory, log_group: str, request_ids: set[str]) -> list[Check]:
    """Check that each request has its log line and its metrics."""
    records = read_log(create_client("logs"), log_group, request_ids)
    logged = [record for record in records if record.get("message") == "request"]
    write_metrics(create_client("cloudwatch"), [record for record in records if "_aws" in record])
    metrics = read_metrics(create_client("cloudwatch"))
    rows = [(name, f"{count:.0f}", f"{total:.1f}") for name, (count, total) in sorted(metrics.items())]
    print(table(("metric", "values", "sum"), rows))
    expected, (_, predictions) = len(request_ids), metrics.get("Predictions", (0, 0))
    return [
        Check("log", len(logged) == expected, f"{len(logged)} of {expected} requests have a line in {log_group}"),
        Check("metrics", predictions == expected, f"{predictions:.0f} of {expected} predictions were counted"),
    ]


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m infra.localstack", description=__doc__)
    parser.add_argument("--keep", action="store_true", help="leave LocalStack running")
    keep = parser.parse_args(arguments).keep
    try:
        with localstack(keep=keep) as container:
            until = f"until `docker rm --force {container.name}`" if keep else "until this command ends"
            print(f"LocalStack {container.version} on {container.endpoint}, {until}", flush=True)
            checks = check_deployment(container)
    except FAILURES as error:
        print(f"localstack: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    for check in checks:
        print(f"{'PASS' if check.passed else 'FAIL'} {check.name}: {check.details}")
    return 0 if all(check.passed for check in checks) else 1


if __name__ == "__main__":
    sys.exit(main())
