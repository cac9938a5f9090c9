"""Tests that every command in the runbook, infra/README.md, exists with all its options."""

import json
import re
import shlex
import subprocess
import tomllib
from functools import cache
from pathlib import Path

import botocore.session
import pytest
import yaml
from botocore import xform_name

ROOT = Path(__file__).parents[2]
RUNBOOK = (ROOT / "infra/README.md").read_text()
MAKEFILE = (ROOT / "Makefile").read_text()
LINES = [line.strip() for block in re.findall(r"```sh\n(.*?)```", RUNBOOK, re.DOTALL) for line in block.splitlines()]
SHELL = [command for line in LINES if line for command in re.split(r" (?:&&|\|) ", line)]
COMMANDS = [shlex.split(re.sub(r"^[A-Z_]+=\S+ ", "", command)) for command in SHELL]  # without variables in front
# Of AWS's command line alone, no operations of its services.
AWS_OWN = {("ecr", "get-login-password"), ("logs", "tail"), ("s3", "rb")}
GLOBAL = {"region", "profile", "output"}
RENAMED = {("sns", "subscribe"): {"notification-endpoint"}}  # --endpoint-url is every command's


def of(program: str) -> list[list[str]]:
    return [command for command in COMMANDS if command[0] == program]


def options(command: list[str]) -> list[str]:
    return [word for word in command if word.startswith("--")]


def test_runbook_uses_known_programs():
    """The tests below check each program except docker, gh, git and kubectl."""
    checked = {"make", "aws", ".venv/bin/dvc", ".venv/bin/mlflow", ".venv-sam/bin/sam"}
    assert checked == {command[0] for command in COMMANDS} - {"docker", "gh", "git", "kubectl"}


@pytest.mark.parametrize("command", of("make"), ids=" ".join)
def test_make_commands_exist(command):
    """The target exists and reads every given variable."""
    words = [word.partition("=") for word in command[1:]]
    targets = [name for name, equals, _ in words if not equals]
    assert [] == [name for name in targets if not re.search(rf"^{name}:.*## ", MAKEFILE, re.MULTILINE)]
    given = [name for name, equals, _ in words if equals]
    assert [] == [
        name for name in given if not re.search(rf"\$\({name}\)|\(call option,{name},|if \$\({name}\)", MAKEFILE)
    ]


@pytest.mark.parametrize("command", of("aws"), ids=" ".join)
def test_aws_commands_exist(command):
    """The service has the operation, and the operation has each option."""
    service, operation = command[1:3]
    if (service, operation) in AWS_OWN:
        return
    model = botocore.session.get_session().get_service_model({"s3api": "s3"}.get(service, service))
    operations = {xform_name(name, "-"): name for name in model.operation_names}
    assert operation in operations
    parameters = {xform_name(name, "-") for name in model.operation_model(operations[operation]).input_shape.members}
    parameters |= GLOBAL | RENAMED.get((service, operation), set())
    assert [] == [option for option in options(command) if option.removeprefix("--") not in parameters]


@cache
def help_of(*subcommand: str) -> str:
    """Each program takes seconds to start, and the runbook has some subcommands more than once."""
    done = subprocess.run([*subcommand, "--help"], cwd=ROOT, check=False, capture_output=True, text=True, timeout=600)
    assert 0 == done.returncode, done.stderr
    return done.stdout


@pytest.mark.process
@pytest.mark.parametrize(
    "command", [*of(".venv/bin/dvc"), *of(".venv/bin/mlflow"), *of(".venv-sam/bin/sam")], ids=" ".join
)
def test_installed_programs_have_options(command):
    """The subcommand's help lists each option."""
    program, *words = command
    if not (ROOT / program).exists():
        pytest.skip(f"{program} is not installed")
    help_text = help_of(program, *(word for word in words[:2] if re.fullmatch("[a-z]+", word)))
    assert [] == [option for option in options(command) if option not in help_text]


def test_runbook_explains_every_alarm():
    """The rows of the table are the template's alarms and the budget."""
    table = RUNBOOK[RUNBOOK.index("| alarm |") :].split("\n\n")[0]
    explained = {re.match(r"\| `?([\w-]+)", row)[1] for row in table.splitlines()[2:]}
    names = re.findall(r"AlarmName: !Sub \$\{AWS::StackName\}-([\w-]+)", (ROOT / "template.yaml").read_text())
    assert {*names, "budget"} == explained


def test_runbook_names_existing_environments_and_outputs():
    """The tables name the environments of samconfig.toml and the outputs of the bootstrap stack."""

    class Loader(yaml.SafeLoader):
        """CloudFormation's tags, as plain values."""

    Loader.add_multi_constructor(
        "!", lambda loader, _, node: loader.construct_yaml_str(node) if isinstance(node, yaml.ScalarNode) else None
    )
    bootstrap = yaml.load((ROOT / "infra/aws/bootstrap.yaml").read_text(), Loader)
    assert set(re.findall(r"the bootstrap's `(\w+)`", RUNBOOK)) <= set(bootstrap["Outputs"])
    environments = tomllib.loads((ROOT / "samconfig.toml").read_text())
    assert set(re.findall(r"(?:ENV=|--config-env )(\w+)", RUNBOOK)) <= set(environments)


def test_runbook_grants_both_permissions_of_private_url():
    """A caller of a private URL needs both permissions."""
    [policy] = re.findall(r"```json\n(.*?)```", RUNBOOK, re.DOTALL)
    assert ["lambda:InvokeFunctionUrl", "lambda:InvokeFunction"] == json.loads(policy)["Action"]


def test_runbook_has_section_for_unverified_claims():
    """The runbook has the heading to which the emergency commands refer."""
    [section] = re.findall(r"^## Verify on your first deployment\n(.*?)^## ", RUNBOOK, re.DOTALL | re.MULTILINE)
    assert [] == [command for command in ("make back", "make off", "make on") if command not in section]
