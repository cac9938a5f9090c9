"""The workflows: valid, pinned, with no right that has no reason, and of make targets that exist and run."""

import re
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml

from tests.github import ROOT, WORKFLOWS, Step, evaluate, execute, jobs, run_job, steps, workflow

TOOLS = ROOT / ".venv-audit/bin"
MAKEFILE = (ROOT / "Makefile").read_text()
SHA, OLDER_SHA = "a" * 40, "b" * 40
REGISTRY = "123456789012.dkr.ecr.eu-central-1.amazonaws.com/pet-classifier"
NEW, OLD = f"{REGISTRY}@sha256:{'c' * 64}", f"{REGISTRY}@sha256:{'d' * 64}"
URL = "https://abc.lambda-url.eu-central-1.on.aws/"
DEPLOYMENT = {"inputs.canary": "", "inputs.environment": "dev", "inputs.image_uri": NEW, "inputs.commit": SHA}
# What GitHub would put in place of each expression.
NAMES = DEPLOYMENT | {
    "github.ref_name": "v1.2.3",
    "github.repository": "owner/name",
    "github.sha": SHA,
    "github.token": "token",
    "steps.before.outputs.commit": OLDER_SHA,
    "steps.before.outputs.image_uri": OLD,
    "steps.before.outputs.url": URL,
    "steps.now.outputs.url": URL,
    "steps.push.outputs.image_uri": NEW,
    "github.run_id": "42",
    "github.server_url": "https://github.com",
    "github.workflow": "CD",
    "needs.build.outputs.image_uri": NEW,
    "vars.ALARM_TOPIC": "arn:aws:sns:eu-central-1:123456789012:pet-classifier-alarms",
    "vars.DATA": "data/photos.zip",
    "vars.ECR_REPOSITORY": REGISTRY,
    "vars.EXTRA": "",
    "vars.OUTLIERS": "",
}
STEPS = [step for name in WORKFLOWS for job in jobs(name) for step in steps(name, job)]
GATE = "exit 1"  # the only command that is no make target: the end of a job that some other job failed
# A line of a step: make, make whose output is kept, or an output of the step.
COMMANDS = re.compile(r'make [^;&|]+|[A-Z_]+=\$\(make [^;&|]+\)|echo "[a-z_]+=\$.+" >> "\$GITHUB_OUTPUT"')

READ = r"\$\({0}\)|\$\(call option,{0},"  # how the Makefile reads a variable that it was given


def tool(name: str, *arguments: str) -> None:
    if not (TOOLS / name).exists():
        pytest.skip(f"{name} is not installed in .venv-audit")
    done = subprocess.run(
        [TOOLS / name, *arguments], check=False, cwd=ROOT, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("schema", "files"),
    [
        ("github-workflows", [f".github/workflows/{name}.yml" for name in WORKFLOWS]),
        ("dependabot", [".github/dependabot.yml"]),
    ],
)
def test_the_files_follow_githubs_schemas(schema, files):
    """A misspelt key, which GitHub would find when it is too late, fails here."""
    tool("check-jsonschema", "--builtin-schema", f"vendor.{schema}", *files)


def test_zizmor_finds_nothing():
    """Not even as the auditor who sees a danger everywhere."""
    tool("zizmor", "--offline", "--no-progress", "--strict-collection", "--persona=auditor", ".github")


@pytest.mark.parametrize("name", WORKFLOWS)
def test_a_workflow_has_no_rights_but_those_of_its_jobs(name):
    """None at the top, and a reason beside each that a job has."""
    assert {} == workflow(name)["permissions"]
    rights = re.findall(r"^ {6}[a-z-]+: (?:read|write)\b(.*)$", WORKFLOWS[name], re.MULTILINE)
    given = sum(len(job.get("permissions", {})) for job in jobs(name).values())
    assert given == len([reason for reason in rights if re.match(r" # \w", reason)])


@pytest.mark.parametrize("name", WORKFLOWS)
def test_no_workflow_knows_a_secret(name):
    """So a fork has none to lose; AWS trusts the repository's environments, and GitHub's own token is each job's."""
    assert "secrets" not in WORKFLOWS[name]


def test_every_action_is_pinned_by_commit_with_its_version_beside():
    """The same pin wherever it is used; our own workflows are called as they are at this commit."""
    used = {line for text in WORKFLOWS.values() for line in re.findall(r"uses: (.*)$", text, re.MULTILINE)}
    actions = {line for line in used if not line.startswith("$/.github/workflows/")}
    assert {line for line in actions if not re.fullmatch(r"[\w/-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", line)} == set()
    assert len(actions) == len({line.partition("@")[0] for line in actions})


def test_dependabot_looks_where_there_is_something_to_find():
    """Requirements for pip, a Dockerfile for docker."""
    updates = yaml.safe_load((ROOT / ".github/dependabot.yml").read_text())["updates"]
    looked = {update["package-ecosystem"]: update.get("directories", []) for update in updates}
    patterns = {"pip": "requirements*.txt", "docker": "Dockerfile*"}
    for ecosystem, pattern in patterns.items():
        assert looked[ecosystem] == [folder for folder in looked[ecosystem] if any(ROOT.glob(f".{folder}/{pattern}"))]


@pytest.mark.parametrize("name", WORKFLOWS)
def test_every_job_ends(name):
    """A job that hangs is stopped after the minutes that it says; one that calls a workflow leaves that to its jobs."""
    assert {job for job, definition in jobs(name).items() if "uses" not in definition} == {
        job for job, definition in jobs(name).items() if int(definition.get("timeout-minutes", 0)) > 0
    }


@pytest.mark.parametrize("step", STEPS, ids=str)
def test_a_step_calls_make_and_nothing_cleverer(step: Step):
    """Its shell holds no expression of GitHub's, through which a branch's name could become a command."""
    assert step.run == GATE or [line for line in step.run.splitlines() if not COMMANDS.fullmatch(line)] == []
    assert "${{" not in step.run


@pytest.mark.parametrize("step", [step for step in STEPS if step.run != GATE], ids=str)
def test_every_command_of_a_step_runs(step: Step, tmp_path):
    """In the shell that GitHub takes, with a value for each expression, as far as `make --dry-run` goes; every variable
    that a step gives to make is one that the Makefile reads.
    """
    done = execute(step, NAMES, tmp_path / "output", MAKEFLAGS="n")
    assert done.returncode == 0, done.stderr
    assert [name for name in re.findall(r" ([A-Z_]+)=", step.run) if not re.search(READ.format(name), MAKEFILE)] == []


def test_a_release_without_a_changelog_stops():
    """The first command of a release is cheap enough to be run for real."""
    first = steps("release", "release")[0]
    done = execute(first, NAMES, Path("/dev/null"))
    assert done.returncode == 2
    assert "'v1.2.3': expected v" in done.stderr


@pytest.mark.parametrize("name", ["COMMIT", "IMAGE_URI", "CANARY", "ENV", "VERSION"])
@pytest.mark.parametrize("value", ['x"; touch {0}; "', "$(shell touch {0})", "`touch {0}`", "a b", "$$(touch {0})"])
def test_make_runs_no_value_of_a_form(name, value, tmp_path):
    """Neither make nor a shell evaluates it: make stops before the first recipe, and the message shows the value."""
    value, target = value.format(tmp_path / "run"), {"COMMIT": "on-main", "VERSION": "back"}.get(name, "deploy")
    done = subprocess.run(
        ["make", target, f"{name}={value}"], check=False, cwd=ROOT, capture_output=True, text=True, timeout=600
    )
    assert (2, False) == (done.returncode, (tmp_path / "run").exists())
    assert f"{name}={value}: expected letters, digits and" in done.stderr


@pytest.mark.parametrize(
    ("commit", "image", "message"),
    [
        (SHA[:39], NEW, "expected all 40 digits of a commit"),
        ("main", NEW, "expected all 40 digits of a commit"),
        (SHA, f"{REGISTRY}:latest", "expected REPOSITORY@sha256:DIGEST"),
        (SHA, "", "expected REPOSITORY@sha256:DIGEST"),
    ],
)
def test_a_deployment_checks_its_inputs_first(commit, image, message, tmp_path):
    """A branch, part of a commit or a tag stops the first command of the job, before AWS's credentials are there."""
    given = DEPLOYMENT | {"inputs.commit": commit, "inputs.image_uri": image}
    first = steps("deploy", "deploy")[0]
    done = execute(first, given, tmp_path / "output")
    assert 2 == done.returncode
    assert message in done.stderr


FAKE_MAKE = """#!/bin/sh
echo "$*" >> "$CALLS"
case "$*" in
    "-s deployed"*) printf '%s\\n' "image_uri=$WAS" "commit=$WAS_COMMIT" auth=AWS_IAM origin= "url=$NOW" ;;
    "$FAILS"*) exit 1 ;;
esac
"""


@pytest.mark.parametrize(
    ("was", "fails", "source", "calls"),
    [
        (OLD, "nothing", "", 5),
        (OLD, "smoke", "success", 7),
        (OLD, "smoke", "failure", -1),  # deployed by hand, from a commit that was never pushed
        ("", "smoke", "", 5),  # the first deployment: there is nothing to go back to
        (OLD, "deploy", "", 3),  # CloudFormation goes back by itself
        (OLD, "on-main", "", 1),  # a commit that nobody reviewed gets no credentials
    ],
)
def test_a_deployment_that_answers_wrongly_is_taken_back_and_fails(tmp_path, was, fails, source, calls):
    """The image that served before is deployed again where the smoke test fails, with its own template, and is asked.

    AWS is out of reach, so `make` is a stand-in that notes what it is asked for.
    """
    (tmp_path / "make").write_text(FAKE_MAKE)
    (tmp_path / "make").chmod(0o755)
    environment = {
        "PATH": f"{tmp_path}:/usr/bin:/bin",
        "CALLS": str(tmp_path / "calls"),
        "FAILS": fails,
        "WAS": was,
        "WAS_COMMIT": OLDER_SHA if was else "",
        "NOW": URL,
    }
    given = DEPLOYMENT | {"steps.source.outcome": source}  # actions are not run
    passed = run_job("deploy", "deploy", given, tmp_path, **environment)
    assert passed == (fails == "nothing")
    expected = [
        f"on-main COMMIT={SHA} IMAGE_URI={NEW}",
        "-s deployed ENV=dev",
        f"deploy ENV=dev CANARY= IMAGE_URI={NEW} COMMIT={SHA}",
        "-s deployed ENV=dev",
        f"smoke ENV=dev URL={URL} IMAGE_URI={NEW} COMMIT={SHA}",
        f"deploy ENV=dev CANARY=AllAtOnce IMAGE_URI={OLD} COMMIT={OLDER_SHA}",
        f"smoke ENV=dev URL={URL} IMAGE_URI={OLD} COMMIT={OLDER_SHA}",
    ]
    expected = expected[:calls] if calls > 0 else [*expected[:5], "back ENV=dev"]
    assert expected == (tmp_path / "calls").read_text().splitlines()


@pytest.mark.parametrize(("code", "expected"), [(0, 0), (3, 0), (1, 2)])
def test_an_alarm_is_no_failure(tmp_path, code, expected):
    """Of the job that monitors; where there is no report, it fails. Its outputs are what the report prints.

    CloudWatch is out of reach, so Python is a stand-in that ends with the report's exit codes.
    """
    (tmp_path / "python").write_text(f"#!/bin/sh\necho alarm=true retrain=false\nexit {code}\n")
    (tmp_path / "python").chmod(0o755)
    command = ["make", "-s", "-o", ".venv/.train", "monitor", f"BIN={tmp_path}", "SOURCE=/aws/lambda/pets"]
    done = subprocess.run(command, check=False, cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert (expected, "alarm=true retrain=false\n") == (done.returncode, done.stdout)


@pytest.mark.parametrize(("retrain", "expected"), [("true", True), ("false", False), ("", False)])
def test_the_report_starts_a_retraining(retrain, expected):
    """And no alarm does by itself: the second job has the first one's output."""
    monitor = jobs("monitor")
    assert {"retrain": "${{ steps.report.outputs.retrain }}"} == monitor["report"]["outputs"]
    assert expected == evaluate(monitor["retrain"]["if"], {"needs.report.outputs.retrain": retrain})


def test_the_report_finds_older_references():
    """In Git's whole history, which a checkout does not have unless it is asked for."""
    checkouts = [step["with"] for step in jobs("monitor")["report"]["steps"] if "checkout" in step.get("uses", "")]
    assert ["0"] == [given["fetch-depth"] for given in checkouts]


@pytest.mark.parametrize(("runs", "calls"), [("", 2), ("4711\n4712", 1)])
def test_one_retraining_a_week_is_enough(tmp_path, runs, calls):
    """What stays drifted does not start another; `gh`, which would ask GitHub, is a stand-in."""
    (tmp_path / "gh").write_text('#!/bin/sh\necho "$*" >> "$CALLS"\n[ "$1" != run ] || echo "$RUNS"\n')
    (tmp_path / "gh").chmod(0o755)
    [step] = steps("monitor", "retrain")
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin", "CALLS": str(tmp_path / "calls"), "RUNS": runs}
    assert 0 == execute(step, NAMES, tmp_path / "output", **environment).returncode
    [listed, *started] = (tmp_path / "calls").read_text().splitlines()
    assert re.fullmatch(r"run list --workflow retrain\.yml --created >=\d{4}-\d\d-\d\d --json databaseId .*", listed)
    assert ["workflow run retrain.yml --ref main"][: calls - 1] == started


def test_what_is_monitored_is_prod():
    """Its log has the name that template.yaml gives it, of the stack that samconfig.toml names."""
    stack = tomllib.loads((ROOT / "samconfig.toml").read_text())["prod"]["global"]["parameters"]["stack_name"]
    assert "LogGroupName: !Sub /aws/lambda/${AWS::StackName}\n" in (ROOT / "template.yaml").read_text()
    assert f"/aws/lambda/{stack}" == jobs("monitor")["report"]["env"]["SOURCE"]


def test_both_environments_get_the_image_that_was_built_once():
    """By the digest that the registry answered; prod after dev, and both only after CI."""
    built = "${{ needs.build.outputs.image_uri }}"
    cd = jobs("cd")
    assert {"dev": built, "prod": built} == {name: cd[name]["with"]["image_uri"] for name in ("dev", "prod")}
    assert ["ci", "build", ["build", "dev", "preview"]] == [cd[name]["needs"] for name in ("build", "dev", "prod")]


@pytest.mark.parametrize("name", ["cd", "monitor", "retrain"])
def test_a_failure_reaches_the_topic_of_the_alarms(name):
    """Of any job of the workflow, where the repository names the topic."""
    [(notifier, job)] = [item for item in jobs(name).items() if item[1].get("uses", "").endswith("/notify.yml")]
    assert "failure() && vars.ALARM_TOPIC != ''" == job["if"]
    assert set(jobs(name)) - {notifier} == set(job["needs"])


@pytest.mark.parametrize(("data", "expected"), [("", False), ("photos.zip", True)])
def test_retraining_waits_until_its_photos_are_named(data, expected):
    """The schedule starts nothing before."""
    names = {"vars.ECR_REPOSITORY": REGISTRY, "vars.DATA": data}
    assert expected == evaluate(jobs("retrain")["train"]["if"], names)


def test_monitoring_waits_for_prod():
    """Each step that needs prod's log is skipped where there is none."""
    names = [step.run for step in steps("monitor", "report") if not step.condition]
    assert ['make -s log-group SOURCE="$SOURCE" >> "$GITHUB_OUTPUT"'] == names
    [report] = [step for step in steps("monitor", "report") if step.id == "report"]
    assert [False, True] == [
        evaluate(report.condition, {"steps.log.outputs.exists": exists}) for exists in ("false", "true")
    ]


def test_the_report_is_no_public_artifact():
    """It is kept with the run only where the repository's owner asks for it."""
    [upload] = [step for step in jobs("monitor")["report"]["steps"] if "upload-artifact" in step.get("uses", "")]
    assert "vars.KEEP_REPORT == 'true'" in upload["if"]


def test_the_preview_comes_before_the_approval():
    """In the run's summary, of the image and commit that prod gets; its environment asks no reviewer."""
    cd = jobs("cd")
    assert "preview" in cd["prod"]["needs"]
    assert "preview" == cd["preview"]["environment"]["name"]
    assert cd["prod"]["with"]["image_uri"] == cd["preview"]["env"]["IMAGE_URI"]
    [step] = steps("cd", "preview")
    assert step.run.endswith('>> "$GITHUB_STEP_SUMMARY"')


def test_one_job_speaks_for_all_of_ci():
    """A pull request needs that check alone, so no other job may be forgotten in it."""
    ci = jobs("ci")
    assert set(ci["passed"]["needs"]) == set(ci) - {"passed"}
    assert ci["passed"]["steps"][0]["if"].endswith(f"'{','.join(['success'] * len(ci['passed']['needs']))}'")


def test_ci_tests_the_oldest_python_and_the_images():
    """The oldest is what pyproject.toml requires, that of the image what Dockerfile.lambda installs."""
    oldest = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"].removeprefix(">=")
    [shipped] = set(re.findall(r"python(3\.\d+)-minimal", (ROOT / "Dockerfile.lambda").read_text()))
    assert [oldest, shipped] == jobs("ci")["test"]["strategy"]["matrix"]["python"]
