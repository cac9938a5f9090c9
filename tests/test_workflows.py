"""Check the GitHub workflows: schemas, pinned actions, permissions, and the make targets that they call."""

import re
import tomllib
from dataclasses import replace

import pytest
import yaml

from tests.support import ROOT
from tests.support.commands import run
from tests.support.github import NAMES, WORKFLOWS, Step, execute, jobs, steps

TOOLS = ROOT / ".venv-audit/bin"
MAKEFILE = (ROOT / "Makefile").read_text()
STEPS = [step for name in WORKFLOWS for job in jobs(name) for step in steps(name, job)]
GATE = "exit 1"  # the only command that is not a make target: it fails a job if another job failed
SCRIPTS = sorted((ROOT / ".github/scripts").iterdir())
SCRIPT = re.compile(r'(?:bash|python3|\.venv/bin/python) \.github/scripts/(\w+\.\w+)(?: "\$[A-Z_]+")*')
OUTPUT = re.compile(r' >> "\$GITHUB_OUTPUT"$')
# The lines that a step may have: make, a variable with the output of make, an output of the step, or a script.
COMMANDS = re.compile(
    r'make [^;&|]+|[A-Z_]+=\$\(make [^;&|]+\)|echo "[a-z_]+=\$.+"|git apply artifacts/proposal\.patch|' + SCRIPT.pattern
)

READ = r"\$\({0}\)|\$\(call option,{0},"  # how the Makefile reads a variable


def run_tool(name: str, *arguments: str) -> str:
    if not (TOOLS / name).exists():
        pytest.skip(f"{name} is not installed in .venv-audit")
    return run(TOOLS / name, *arguments)


@pytest.mark.parametrize(
    ("schema", "files"),
    [
        ("github-workflows", [f".github/workflows/{name}.yml" for name in WORKFLOWS]),
        ("dependabot", [".github/dependabot.yml"]),
    ],
)
def test_files_follow_githubs_schemas(schema, files):
    """Workflows and Dependabot's configuration validate against the schemas of GitHub."""
    assert "ok -- validation done" in run_tool("check-jsonschema", "--builtin-schema", f"vendor.{schema}", *files)


def test_zizmor_finds_nothing():
    """zizmor reports nothing, even in its strictest mode."""
    options = ("--offline", "--no-progress", "--strict-collection", "--persona=auditor")
    assert run_tool("zizmor", *options, ".github").startswith("No findings to report.")


@pytest.mark.parametrize("name", WORKFLOWS)
def test_workflows_use_no_secrets(name):
    """No workflow mentions secrets: AWS trusts the repository's environments, and GitHub gives each job a token."""
    assert "secrets" not in WORKFLOWS[name]


def test_actions_are_pinned_by_commit():
    """Each action has a single pin with its version in a comment. The repository's own workflows need no pin."""
    used = {line for text in WORKFLOWS.values() for line in re.findall(r"uses: (.*)$", text, re.MULTILINE)}
    actions = {line for line in used if not line.startswith("$/.github/workflows/")}
    assert {line for line in actions if not re.fullmatch(r"[\w/-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", line)} == set()
    assert len(actions) == len({line.partition("@")[0] for line in actions})


def test_dependabot_folders_contain_what_it_updates():
    """Each folder for pip has requirements, and each folder for docker has a Dockerfile."""
    updates = yaml.safe_load((ROOT / ".github/dependabot.yml").read_text())["updates"]
    folders = {update["package-ecosystem"]: update.get("directories", []) for update in updates}
    patterns = {"pip": "requirements*.txt", "docker": "Dockerfile*"}
    for ecosystem, pattern in patterns.items():
        assert folders[ecosystem] == [folder for folder in folders[ecosystem] if any(ROOT.glob(f".{folder}/{pattern}"))]


@pytest.mark.parametrize("name", WORKFLOWS)
def test_every_job_has_a_timeout(name):
    """Every job has a timeout, except those that call a workflow, whose jobs have their own."""
    assert {job for job, definition in jobs(name).items() if "uses" not in definition} == {
        job for job, definition in jobs(name).items() if int(definition.get("timeout-minutes", 0)) > 0
    }


@pytest.mark.parametrize("step", STEPS, ids=str)
def test_step_only_calls_make_and_scripts(step: Step):
    """A step runs only make targets and the repository's scripts.

    It contains no GitHub expression, which could turn a branch name into a command.
    """
    assert (
        step.run == GATE
        or [line for line in step.run.splitlines() if not COMMANDS.fullmatch(OUTPUT.sub("", line))] == []
    )
    assert "${{" not in step.run


@pytest.mark.parametrize("step", [step for step in STEPS if "make " in step.run], ids=str)
def test_step_commands_run(step: Step, tmp_path):
    """Each step runs with `make --dry-run` in GitHub's shell, and passes only variables that the Makefile reads."""
    commands = "\n".join(line for line in step.run.splitlines() if not SCRIPT.match(line))
    done = execute(replace(step, run=commands), NAMES, tmp_path / "output", MAKEFLAGS="n")
    assert done.returncode == 0, done.stderr
    assert [name for name in re.findall(r" ([A-Z_]+)=", step.run) if not re.search(READ.format(name), MAKEFILE)] == []


def test_every_script_exists_and_is_called():
    """The workflows, the Makefile and the scripts call only scripts that exist, and each script."""
    texts = [*WORKFLOWS.values(), MAKEFILE, *(path.read_text() for path in SCRIPTS if path.suffix == ".sh")]
    called = {name for text in texts for name in re.findall(r"(?:bash|python3?) \.github/scripts/([\w.]+)", text)}
    assert {path.name for path in SCRIPTS if path.is_file()} == called


def test_job_passed_depends_on_all_jobs_of_ci():
    """Pull requests require only this job, so it must depend on every other one."""
    ci = jobs("ci")
    assert set(ci["passed"]["needs"]) == set(ci) - {"passed"}
    assert ci["passed"]["steps"][0]["if"].endswith(f"'{','.join(['success'] * len(ci['passed']['needs']))}'")


def test_ci_tests_the_oldest_python_and_that_of_the_image():
    """CI runs on the oldest Python that pyproject.toml allows and on the Python of Dockerfile.lambda."""
    oldest = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"].removeprefix(">=")
    [shipped] = set(re.findall(r"python(3\.\d+)-minimal", (ROOT / "Dockerfile.lambda").read_text()))
    assert [oldest, shipped] == jobs("ci")["test"]["strategy"]["matrix"]["python"]
