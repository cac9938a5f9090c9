"""Read templates with CloudFormation's tags, and translate them with SAM. Both run in .venv-sam."""

import functools
import json
import re
from pathlib import Path
from typing import Any

from tests.support import ROOT, commands

SAM = ROOT / ".venv-sam/bin/sam"
REGION = "eu-central-1"  # as in samconfig.toml
SAM_VARIABLES = {"SAM_CLI_POLL_DELAY": "0.2", "AWS_DEFAULT_REGION": REGION}
MAKE = ("make", "-o", ".venv-sam/.installed", "-o", ".venv/.serve")  # without installing anything

REPOSITORY = f"123456789012.dkr.ecr.{REGION}.amazonaws.com/pet-classifier"
IMAGE, OTHER_IMAGE = (f"{REPOSITORY}@sha256:{digit * 64}" for digit in "ab")
ALIAS_RESOURCE = "ClassifierAliaslive"  # as SAM names it
BATCH_ALARMS = ["DeadLettersAlarm", "BatchErrorsAlarm", "BatchThrottlesAlarm", "BatchAgeAlarm"]
NO_VALUE = {"Ref": "AWS::NoValue"}

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
from infra.aws.translate import main

for parameters in json.loads(sys.argv[1]):
    main("template.yaml", *(f"{name}={value}" for name, value in parameters.items()))
"""

Template = dict[str, Any]
Parameters = tuple[tuple[str, str], ...]


def run(*command: str | Path, **environment: str) -> str:
    """Return the standard output of a command that must succeed, with the variables for SAM CLI."""
    return commands.run(*command, **SAM_VARIABLES | environment)


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


def resources(kind: str) -> dict[str, Template]:
    return {name: found for name, found in translated()["Resources"].items() if found["Type"] == f"AWS::{kind}"}


def properties(name: str, **parameters: str) -> Template:
    found: Template = translated(**parameters)["Resources"][name]["Properties"]
    return found


def default(parameter: str) -> Any:
    return translated()["Parameters"][parameter]["Default"]


def version_id(**parameters: str) -> str:
    """Return the logical ID of the published version; a new ID means a new version."""
    [name] = [n for n, r in translated(**parameters)["Resources"].items() if r["Type"] == "AWS::Lambda::Version"]
    return str(name)


def dashboard() -> list[Template]:
    """Return the widgets, with STACK as the stack's name and 0 for every parameter."""
    body, values = properties("Dashboard")["DashboardBody"]["Fn::Sub"]
    condition, with_photos, otherwise = values["Batches"]["Fn::If"]
    assert ("HasPhotos", "") == (condition, otherwise)
    body = body.replace("${Batches}", with_photos["Fn::Sub"][0])
    body = re.sub(r"\$\{(Min|Max)\w+\}", "0", body.replace("${AWS::StackName}", "STACK"))
    widgets: list[Template] = json.loads(body)["widgets"]
    return widgets


def statements(resource: Template) -> list[Template]:
    """Return the statements of a policy, or of a role's inline policies."""
    properties = resource["Properties"]
    policies = properties.get("Policies", [properties])
    return [statement for policy in policies for statement in policy["PolicyDocument"]["Statement"]]


def as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
