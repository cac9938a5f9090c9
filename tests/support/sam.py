"""Read templates with CloudFormation's tags, and translate them with SAM. Both run in .venv-sam."""

import functools
import json
import os
import subprocess
from pathlib import Path
from typing import Any

from tests.support import ROOT

SAM = ROOT / ".venv-sam/bin/sam"
REGION = "eu-central-1"  # as in samconfig.toml
ENVIRONMENT = os.environ | {"SAM_CLI_POLL_DELAY": "0.2", "SAM_CLI_TELEMETRY": "0", "AWS_DEFAULT_REGION": REGION}

REPOSITORY = f"123456789012.dkr.ecr.{REGION}.amazonaws.com/pet-classifier"
IMAGE, OTHER_IMAGE = (f"{REPOSITORY}@sha256:{digit * 64}" for digit in "ab")
ALIAS = "ClassifierAliaslive"  # as SAM names it

READ = """
import json, sys
from pathlib import Path
from samtranslator.yaml_helper import yaml_parse

print(json.dumps(yaml_parse(Path(sys.argv[1]).read_text())))
"""

# Parameters of the templates that tests compare. One process translates them all, because starting it takes a second.
COMPARED: tuple[dict[str, str], ...] = (
    {},
    {"ImageUri": OTHER_IMAGE},
    {"MemorySize": "2048"},
    {"Release": "one"},
    {"Release": "two"},
    {"ImageUri": OTHER_IMAGE, "Release": "one"},
    {"Canary": "Canary10Percent5Minutes"},
)
TRANSLATE = """
import json, sys
from infra.localstack.translate import main

for parameters in json.loads(sys.argv[1]):
    main("template.yaml", *(f"{name}={value}" for name, value in parameters.items()))
"""

Template = dict[str, Any]
Parameters = tuple[tuple[str, str], ...]


def run(*command: str | Path, **environment: str) -> str:
    """Run a command that must succeed, and return its standard output."""
    done = subprocess.run(
        command, check=False, cwd=ROOT, env=ENVIRONMENT | environment, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@functools.cache
def read(path: str) -> Template:
    """Return a template with its tags as intrinsic functions."""
    template: Template = json.loads(run(SAM.with_name("python"), "-c", READ, path))
    return template


def translated(**parameters: str) -> Template:
    """Return the CloudFormation template that SAM creates from template.yaml."""
    complete, compared = _complete(parameters), tuple(map(_complete, COMPARED))
    return _translated(compared if complete in compared else (complete,))[complete]


def _complete(parameters: dict[str, str]) -> Parameters:
    return tuple(sorted(({"ImageUri": IMAGE} | parameters).items()))


@functools.cache
def _translated(sets: tuple[Parameters, ...]) -> dict[Parameters, Template]:
    done = run(SAM.with_name("python"), "-c", TRANSLATE, json.dumps([dict(parameters) for parameters in sets]))
    return dict(zip(sets, map(json.loads, done.splitlines()), strict=True))


def statements(resource: Template) -> list[Template]:
    """Return the statements of a policy, or of a role's inline policies."""
    properties = resource["Properties"]
    policies = properties.get("Policies", [properties])
    return [statement for policy in policies for statement in policy["PolicyDocument"]["Statement"]]


def as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
