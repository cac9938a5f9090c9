"""Read GitHub workflows, and run the `run` steps of their jobs with expressions, environment and outputs.

Actions are not run.
"""

import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.support import ROOT, commands
from tests.support.sam import REPOSITORY

SHA, OLDER_SHA = "a" * 40, "b" * 40
NEW, OLD = f"{REPOSITORY}@sha256:{'c' * 64}", f"{REPOSITORY}@sha256:{'d' * 64}"
URL = "https://abc.lambda-url.eu-central-1.on.aws/"
DEPLOYMENT = {"inputs.canary": "", "inputs.environment": "dev", "inputs.image_uri": NEW, "inputs.commit": SHA}
# The values that GitHub would insert for each expression.
NAMES = DEPLOYMENT | {
    "github.ref_name": "v1.2.3",
    "github.repository": "owner/name",
    "github.sha": SHA,
    "github.token": "token",
    "steps.before.outputs.commit": OLDER_SHA,
    "steps.before.outputs.image_uri": OLD,
    "steps.before.outputs.previous_version": "1",
    "steps.before.outputs.url": URL,
    "steps.now.outputs.url": URL,
    "steps.push.outputs.image_uri": NEW,
    "github.run_id": "42",
    "github.server_url": "https://github.com",
    "github.workflow": "CD",
    "needs.build.outputs.image_uri": NEW,
    "vars.ALARM_TOPIC": "arn:aws:sns:eu-central-1:123456789012:pet-classifier-alarms",
    "vars.DATA": "data/photos.zip",
    "vars.ECR_REPOSITORY": REPOSITORY,
    "vars.EXTRA": "",
    "vars.OUTLIERS": "",
}
WORKFLOWS = {path.stem: path.read_text() for path in sorted((ROOT / ".github/workflows").glob("*.yml"))}


def workflow(name: str) -> dict[str, Any]:
    # BaseLoader keeps `on` and 3.13 as strings; YAML 1.1 reads `on` as true.
    return yaml.load(WORKFLOWS[name], yaml.BaseLoader)


def jobs(name: str) -> dict[str, Any]:
    return workflow(name)["jobs"]


@dataclass(frozen=True)
class Step:
    """A `run` step of a job, with the environment of workflow, job and step."""

    workflow: str
    job: str
    run: str
    env: Mapping[str, str]
    id: str
    condition: str

    def __str__(self) -> str:
        return f"{self.workflow}/{self.job}: {self.run.strip().splitlines()[0]}"


def steps(name: str, job: str) -> list[Step]:
    definition = jobs(name)[job]
    common = workflow(name).get("env", {}) | definition.get("env", {})
    return [
        Step(name, job, step["run"], common | step.get("env", {}), step.get("id", ""), step.get("if", ""))
        for step in definition.get("steps", [])
        if "run" in step
    ]


def evaluate(expression: str, names: Mapping[str, str], *, failed: bool = False) -> Any:
    """Return the value of an expression of names, strings, ==, != and &&.

    Raise `KeyError` for an unknown name. The outputs of a step that did not run are empty.
    """
    known = dict(names) | {name: "" for name in re.findall(r"\bsteps(?:\.\w+)+", expression) if name not in names}
    quoted = re.sub(r"\b[a-z]+(?:\.\w+)+", lambda name: repr(known[name[0]]), expression)
    return eval(quoted.replace("&&", "and"), {"failure": lambda: failed})  # expressions of this repository's workflows


def resolved(step: Step, names: Mapping[str, str]) -> dict[str, str]:
    """Return the step's environment with its expressions evaluated."""
    expression = re.compile(r"\$\{\{ (.+?) \}\}")
    return {name: expression.sub(lambda match: evaluate(match[1], names), value) for name, value in step.env.items()}


def execute(step: Step, names: Mapping[str, str], output: Path, **env: str) -> subprocess.CompletedProcess[str]:
    """Run the step in the shell that GitHub uses. `output` becomes its GITHUB_OUTPUT."""
    environment = resolved(step, names) | {"GITHUB_OUTPUT": str(output), "GITHUB_STEP_SUMMARY": str(output)} | env
    return commands.execute("bash", "-e", "-c", step.run, **environment)


def run_job(name: str, job: str, context: Mapping[str, str], folder: Path, **env: str) -> bool:
    """Run a job, and return whether it passes. After a failure, only steps whose `if` calls `failure()` run."""
    names, failed = dict(context), False
    for number, step in enumerate(steps(name, job)):
        is_enabled = not step.condition or evaluate(step.condition, names, failed=failed)
        if not is_enabled or (failed and "failure()" not in step.condition):
            names[f"steps.{step.id}.outcome"] = "skipped"
            continue
        output = folder / f"output-{number}"
        output.touch()
        done = execute(step, names, output, **env)
        failed = failed or done.returncode != 0
        names[f"steps.{step.id}.outcome"] = "failure" if done.returncode else "success"
        lines = (line.partition("=") for line in output.read_text().splitlines())
        names |= {f"steps.{step.id}.outputs.{key}": value for key, _, value in lines}
    return not failed


def write_program(folder: Path, name: str, text: str) -> None:
    """Write an executable file, which replaces a program if the folder is first on PATH."""
    path = folder / name
    path.write_text(text)
    path.chmod(0o755)
