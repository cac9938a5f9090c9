"""Test that every program, subcommand and option in the commands of the documents exists."""

import json
import re
import runpy
import shlex
import sys
import tomllib
from contextlib import redirect_stdout
from functools import cache
from io import StringIO

import botocore.session
import pytest
import yaml
from botocore import xform_name

from tests.support import ROOT
from tests.support.commands import run

RUNBOOK = (ROOT / "infra/aws/README.md").read_text()
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "training/README.md", ROOT / "export/README.md"]
PAGES = [path.read_text() for path in (*DOCUMENTS, *sorted(ROOT.glob("infra/**/README.md")))]
MAKEFILE = (ROOT / "Makefile").read_text()
BLOCKS = [block for page in PAGES for block in re.findall(r"```sh\n(.*?)```", page, re.DOTALL)]
LINES = dict.fromkeys(line.strip() for block in BLOCKS for line in block.splitlines())
SHELL = [command for line in LINES if line for command in re.split(r" (?:&&|\|) ", line)]
COMMANDS = [shlex.split(re.sub(r"^([A-Z_]+=\S+ )+", "", command)) for command in SHELL]  # without variables in front
# Commands of the AWS CLI that are not operations of a service.
AWS_OWN = {("ecr", "get-login-password"), ("logs", "tail"), ("s3", "rb")}
INSTALLED = sorted({command[0] for command in COMMANDS if command[0].startswith(".venv/")})
PYTHON = ".venv/bin/python"
GLOBAL = {"region", "profile", "output"}
RENAMED = {("sns", "subscribe"): {"notification-endpoint"}}  # renamed, because every command has --endpoint-url


def commands_of(program: str) -> list[list[str]]:
    return [command for command in COMMANDS if command[0] == program]


def options(command: list[str]) -> list[str]:
    return [word.partition("=")[0] for word in command if word.startswith("--")]


def test_every_program_is_known():
    """Each program is checked below or belongs to the system."""
    checked = {"make", "aws", ".venv-sam/bin/sam", *INSTALLED}
    assert checked == {command[0] for command in COMMANDS} - {"cd", "curl", "docker", "find", "gh", "git", "kubectl"}


def required_variables(target: str) -> set[str]:
    """Return the variables without a default that a target must get: it stops with an error if one is missing."""
    [recipe] = re.findall(rf"^{target}:.*\n((?:\t.*\n)+)", MAKEFILE, re.MULTILINE)
    names = re.findall(r"\$\(REQUIRE_(\w+)\)", recipe) + re.findall(r"\$\(if \$\((\w+)\),,\$\(error ", recipe)
    return set(names) - set(re.findall(rf"^(?:{target}: )?(\w+) \?= ", MAKEFILE, re.MULTILINE))


@pytest.mark.parametrize(
    ("target", "expected"),
    [("preview", {"ENV", "IMAGE_URI", "COMMIT"}), ("deploy", {"ENV", "IMAGE_URI"}), ("push", {"REPOSITORY"})],
)
def test_required_variables_are_found(target, expected):
    """Variables of `$(REQUIRE_…)` and of `$(error …)` are required, unless the Makefile has a default."""
    assert expected == required_variables(target)


@pytest.mark.parametrize("command", commands_of("make"), ids=" ".join)
def test_make_commands_match_makefile(command):
    """The Makefile has the target. The target reads each variable of the command, and requires no other."""
    words = [word.partition("=") for word in command[1:]]
    targets = [name for name, equals, _ in words if not equals]
    assert [] == [name for name in targets if not re.search(rf"^{name}:.*## ", MAKEFILE, re.MULTILINE)]
    given = [name for name, equals, _ in words if equals]
    assert [] == [
        name for name in given if not re.search(rf"\$\({name}\)|\(call option,{name},|if \$\({name}\)", MAKEFILE)
    ]
    assert [] == [name for target in targets for name in sorted(required_variables(target)) if name not in given]


@pytest.mark.parametrize("command", commands_of("aws"), ids=" ".join)
def test_aws_commands_exist(command):
    """The service has the operation, and the operation has each option as a parameter."""
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
    """Return the help text of a subcommand; cached, because each program takes seconds to start."""
    return run(*subcommand, "--help")


@cache
def help_of_module(name: str) -> str:
    """Return the help text of a module, which runs in this process, because importing PyTorch takes seconds."""
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(StringIO()) as shown:
        patch.setattr(sys, "argv", [name, "--help"])
        with pytest.raises(SystemExit) as done:
            runpy.run_module(name, run_name="__main__", alter_sys=True)
    assert 0 == done.value.code
    return shown.getvalue()


MODULES = [
    # The other packages import PyTorch, which `make check` does not install.
    pytest.param(command, marks=[] if command[2].startswith("infra.") else pytest.mark.slow)
    for command in commands_of(PYTHON)
    if "-m" == command[1]
]


@pytest.mark.filterwarnings("ignore:.*found in sys.modules:RuntimeWarning:runpy")  # another test imported the module
@pytest.mark.parametrize("command", MODULES, ids=" ".join)
def test_modules_have_options(command):
    """The help text of the module lists each option."""
    shown = help_of_module(command[2])
    assert [] == [option for option in options(command) if option not in shown]


@pytest.mark.process
@pytest.mark.parametrize(
    "command",
    [command for program in (".venv-sam/bin/sam", *INSTALLED) for command in commands_of(program) if PYTHON != program],
    ids=" ".join,
)
def test_installed_programs_have_options(command):
    """The help text of the subcommand lists each option."""
    program, *words = command
    if not (ROOT / program).exists():
        pytest.skip(f"{program} is not installed")
    subcommand = [word for word in words[:2] if re.fullmatch("[a-z]+", word)]
    shown = help_of(program, *subcommand)
    assert [] == [option for option in options(command) if option not in shown]


def test_every_alarm_is_explained():
    """The table of alarms has exactly the alarms of the template, and the budget."""
    table = RUNBOOK[RUNBOOK.index("| alarm |") :].split("\n\n")[0]
    explained = {re.match(r"\| `?([\w-]+)", row)[1] for row in table.splitlines()[2:]}
    names = re.findall(r"AlarmName: !Sub \$\{AWS::StackName\}-([\w-]+)", (ROOT / "template.yaml").read_text())
    assert {*names, "budget"} == explained


def test_environments_and_outputs_exist():
    """The runbook names environments of samconfig.toml and outputs of the bootstrap stack."""

    class Loader(yaml.SafeLoader):
        """Read CloudFormation's tags as plain values."""

    Loader.add_multi_constructor(
        "!", lambda loader, _, node: loader.construct_yaml_str(node) if isinstance(node, yaml.ScalarNode) else None
    )
    bootstrap = yaml.load((ROOT / "infra/aws/bootstrap.yaml").read_text(), Loader)
    assert set(re.findall(r"the bootstrap's `(\w+)`", RUNBOOK)) <= set(bootstrap["Outputs"])
    environments = tomllib.loads((ROOT / "samconfig.toml").read_text())
    assert set(re.findall(r"(?:ENV=|--config-env )(\w+)", RUNBOOK)) <= set(environments)


def test_policy_of_callers_has_both_permissions():
    """The policy for callers has both permissions; with only one of them, AWS answers 403."""
    [policy] = re.findall(r"```json\n(.*?)```", RUNBOOK, re.DOTALL)
    assert ["lambda:InvokeFunctionUrl", "lambda:InvokeFunction"] == json.loads(policy)["Action"]


def test_named_widgets_and_queries_exist():
    """Each name in italics in the alarms' instructions is a dashboard widget or a saved query of the template."""
    instructions = RUNBOOK.split("### errors\n")[1].split("\n## ")[0]
    names = re.findall(r"(?<!\*)\*([^*\n]+)\*(?!\*)", instructions)
    template = (ROOT / "template.yaml").read_text()
    assert names
    assert [] == [name for name in names if f'"title": "{name}"' not in template and f"}}/{name}\n" not in template]
