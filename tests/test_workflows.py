"""Check the GitHub workflows: schemas, pinned actions, permissions, and the make targets that they call."""

import os
import re
import shutil
import subprocess
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from tests.support import ROOT
from tests.support.github import WORKFLOWS, Step, evaluate, execute, jobs, run_job, steps, workflow

TOOLS = ROOT / ".venv-audit/bin"
MAKEFILE = (ROOT / "Makefile").read_text()
SHA, OLDER_SHA = "a" * 40, "b" * 40
REGISTRY = "123456789012.dkr.ecr.eu-central-1.amazonaws.com/pet-classifier"
NEW, OLD = f"{REGISTRY}@sha256:{'c' * 64}", f"{REGISTRY}@sha256:{'d' * 64}"
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
GATE = "exit 1"  # the only command that is not a make target: it fails a job if another job failed
SCRIPTS = sorted((ROOT / ".github/scripts").iterdir())
SCRIPT = re.compile(r'(?:bash|python3|\.venv/bin/python) \.github/scripts/(\w+\.\w+)(?: "\$[A-Z_]+")*')
OUTPUT = re.compile(r' >> "\$GITHUB_OUTPUT"$')
# The lines that a step may have: make, a variable with the output of make, an output of the step, or a script.
COMMANDS = re.compile(
    r'make [^;&|]+|[A-Z_]+=\$\(make [^;&|]+\)|echo "[a-z_]+=\$.+"|git apply artifacts/proposal\.patch|' + SCRIPT.pattern
)

READ = r"\$\({0}\)|\$\(call option,{0},"  # how the Makefile reads a variable


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
def test_files_follow_githubs_schemas(schema, files):
    """Workflows and Dependabot's configuration validate against the schemas of GitHub."""
    tool("check-jsonschema", "--builtin-schema", f"vendor.{schema}", *files)


def test_zizmor_finds_nothing():
    """zizmor reports nothing, even in its strictest mode."""
    tool("zizmor", "--offline", "--no-progress", "--strict-collection", "--persona=auditor", ".github")


@pytest.mark.parametrize("name", WORKFLOWS)
def test_workflow_permissions_are_given_to_jobs_with_a_reason(name):
    """No workflow has permissions of its own, and each permission of a job has a comment with its reason."""
    assert {} == workflow(name)["permissions"]
    comments = re.findall(r"^ {6}[a-z-]+: (?:read|write)\b(.*)$", WORKFLOWS[name], re.MULTILINE)
    permissions = sum(len(job.get("permissions", {})) for job in jobs(name).values())
    assert permissions == len([comment for comment in comments if re.match(r" # \w", comment)])


@pytest.mark.parametrize("name", WORKFLOWS)
def test_workflows_use_no_secrets(name):
    """AWS trusts the repository's environments, and GitHub gives each job a token, so no secret can leak."""
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
    """A step contains no GitHub expression, which could turn the name of a branch into a command."""
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


def test_release_without_a_changelog_fails():
    """The first command of a release fails if the changelog has no entry for the version."""
    first = steps("release", "release")[0]
    done = execute(first, NAMES, Path("/dev/null"))
    assert done.returncode == 1
    assert "'v1.2.3': expected v" in done.stderr


@pytest.mark.parametrize("name", ["COMMIT", "IMAGE_URI", "CANARY", "ENV", "SHARE", "VERSION"])
@pytest.mark.parametrize("value", ['x"; touch {0}; "', "$(shell touch {0})", "`touch {0}`", "a b", "$$(touch {0})"])
def test_make_rejects_values_with_commands(name, value, tmp_path):
    """Make fails before the first recipe with a message that shows the value. Nothing evaluates the value."""
    value, target = value.format(tmp_path / "run"), {"VERSION": "back", "SHARE": "split"}.get(name, "deploy")
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
        ("$(touch run)", NEW, "expected all 40 digits of a commit"),
        (SHA, f"{NEW}\n::warning::", "expected REPOSITORY@sha256:DIGEST"),
        (SHA, NEW, "expected a commit of main"),
    ],
)
def test_deployment_checks_its_inputs_first(commit, image, message, tmp_path):
    """An invalid or unknown commit or image, or a command in one, fails the job before it gets AWS credentials."""
    inputs = DEPLOYMENT | {"inputs.commit": commit, "inputs.image_uri": image}
    first = steps("deploy", "deploy")[0]
    done = execute(first, inputs, tmp_path / "output")
    assert 1 == done.returncode
    assert message in done.stderr
    assert "\n::" not in done.stderr
    assert not (ROOT / "run").exists()


FAKE_MAKE = """#!/bin/sh
echo "$*" >> "$CALLS"
case "$*" in
    "-s deployed"*) printf '%s\\n' "image_uri=$WAS" "commit=$WAS_COMMIT" auth=AWS_IAM origin= "url=$NOW" ;;
    "$FAILS"*) exit 1 ;;
esac
"""
FAKE_GIT = """#!/bin/sh
echo "$*" >> "$CALLS"
[ "$1" != "$FAILS" ]
"""


@pytest.mark.parametrize(
    ("was", "fails", "source", "calls"),
    [
        (OLD, "nothing", "", 5),
        (OLD, "smoke", "success", 7),
        (OLD, "smoke", "failure", -1),  # deployed manually from a commit that was never pushed
        ("", "smoke", "", 5),  # the first deployment: there is no earlier version
        (OLD, "deploy", "", 3),  # CloudFormation rolls back by itself
        (OLD, "merge-base", "", 1),  # an unreviewed commit gets no credentials
    ],
)
def test_deployment_that_fails_its_smoke_test_is_rolled_back(tmp_path, was, fails, source, calls):
    """If the smoke test fails, the job deploys the previous image with its own template, and tests it again.

    Fake programs record the calls, because AWS is not available and the commits do not exist.
    """
    (tmp_path / "make").write_text(FAKE_MAKE)
    (tmp_path / "git").write_text(FAKE_GIT)
    for command in ("make", "git"):
        (tmp_path / command).chmod(0o755)
    environment = {
        "PATH": f"{tmp_path}:/usr/bin:/bin",
        "CALLS": str(tmp_path / "calls"),
        "FAILS": fails,
        "WAS": was,
        "WAS_COMMIT": OLDER_SHA if was else "",
        "NOW": URL,
    }
    names = DEPLOYMENT | {"steps.source.outcome": source}  # actions are not run
    passed = run_job("deploy", "deploy", names, tmp_path, **environment)
    assert passed == (fails == "nothing")
    expected = [
        f"merge-base --is-ancestor {SHA} origin/main",
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
def test_alarm_does_not_fail_the_monitor_job(tmp_path, code, expected):
    """The job passes if the report sets off an alarm, and fails without a report. It outputs what the report prints.

    A fake Python exits with the report's codes, because CloudWatch is not available.
    """
    (tmp_path / "python").write_text(f"#!/bin/sh\necho alarm=true retrain=false\nexit {code}\n")
    (tmp_path / "python").chmod(0o755)
    command = ["make", "-s", "-o", ".venv/.train", "monitor", f"BIN={tmp_path}", "SOURCE=/aws/lambda/pets"]
    done = subprocess.run(command, check=False, cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert (expected, "alarm=true retrain=false\n") == (done.returncode, done.stdout)


@pytest.mark.parametrize(("retrain", "expected"), [("true", True), ("false", False), ("", False)])
def test_report_starts_retraining(retrain, expected):
    """The job `retrain` runs if the report asks for it, and not because of an alarm."""
    monitor = jobs("monitor")
    assert {"retrain": "${{ steps.report.outputs.retrain }}"} == monitor["report"]["outputs"]
    assert expected == evaluate(monitor["retrain"]["if"], {"needs.report.outputs.retrain": retrain})


def test_report_starts_retraining_only_after_approval():
    """The job is in the environment whose required reviewers the runbook asks for."""
    assert "retrain" == jobs("monitor")["retrain"]["environment"]["name"]
    runbook = (ROOT / "infra/aws/README.md").read_text().splitlines()
    [row] = [line for line in runbook if "environment `retrain`" in line]
    assert "required reviewers" in row


def test_report_has_the_whole_git_history():
    """The report looks up older references in the history, which a checkout omits by default."""
    checkouts = [step["with"] for step in jobs("monitor")["report"]["steps"] if "checkout" in step.get("uses", "")]
    assert ["0"] == [options["fetch-depth"] for options in checkouts]


@pytest.mark.parametrize(("runs", "calls"), [("", 2), ("4711\n4712", 1)])
def test_retraining_starts_at_most_once_a_week(tmp_path, runs, calls):
    """A recent retraining prevents another. A fake `gh` replaces GitHub."""
    (tmp_path / "gh").write_text('#!/bin/sh\necho "$*" >> "$CALLS"\n[ "$1" != run ] || echo "$RUNS"\n')
    (tmp_path / "gh").chmod(0o755)
    [step] = steps("monitor", "retrain")
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin", "CALLS": str(tmp_path / "calls"), "RUNS": runs}
    assert 0 == execute(step, NAMES, tmp_path / "output", **environment).returncode
    [query, *started] = (tmp_path / "calls").read_text().splitlines()
    assert re.fullmatch(r"run list --workflow retrain\.yml --created >=\d{4}-\d\d-\d\d --json databaseId .*", query)
    assert ["workflow run retrain.yml --ref main"][: calls - 1] == started


def test_release_has_notes_and_sbom(tmp_path):
    """The release is created from its tag, with the changelog's section and the SBOM. A fake `gh` replaces GitHub."""
    for name in (
        ".github/scripts/create_release.sh",
        ".github/scripts/release_notes.py",
        "CHANGELOG.md",
        "pyproject.toml",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / "artifacts").mkdir()
    (tmp_path / "gh").write_text('#!/bin/sh\necho "$*"\n')
    (tmp_path / "gh").chmod(0o755)
    tag = "v" + tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    command = ["bash", ".github/scripts/create_release.sh", tag, NEW]
    environment = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run(command, check=True, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert NEW in (tmp_path / "artifacts/release-notes.md").read_text()
    assert f"release create {tag} --verify-tag " in done.stdout
    assert done.stdout.endswith("--notes-file artifacts/release-notes.md artifacts/sbom.cdx.json\n")


def test_patch_has_all_changes(tmp_path):
    """`git apply` of the patch in another checkout restores changed, new and binary files."""
    git = ("git", "-c", "user.name=test", "-c", "user.email=test@example.org")
    before, after = tmp_path / "before", tmp_path / "after"
    (before / "artifacts").mkdir(parents=True)
    (before / "changed").write_text("old\n")
    (before / ".gitignore").write_text("artifacts/proposal.*\n")
    for command in (["init", "--quiet"], ["add", "."], ["commit", "--quiet", "--message", "All"]):
        subprocess.run([*git, *command], cwd=before, check=True)
    subprocess.run([*git, "clone", "--quiet", before, after], check=True)
    (before / "changed").write_text("new\n")
    (before / "model.onnx").write_bytes(bytes(range(256)))
    subprocess.run(["bash", ROOT / ".github/scripts/write_patch.sh"], cwd=before, check=True)
    subprocess.run([*git, "apply", before / "artifacts/proposal.patch"], cwd=after, check=True)
    assert ("new\n", bytes(range(256))) == ((after / "changed").read_text(), (after / "model.onnx").read_bytes())


def test_monitored_log_is_that_of_prod():
    """The workflow reads the log group of template.yaml for the stack of samconfig.toml."""
    stack = tomllib.loads((ROOT / "samconfig.toml").read_text())["prod"]["global"]["parameters"]["stack_name"]
    assert "LogGroupName: !Sub /aws/lambda/${AWS::StackName}\n" in (ROOT / "template.yaml").read_text()
    assert f"/aws/lambda/{stack}" == jobs("monitor")["report"]["env"]["SOURCE"]


def test_both_environments_deploy_the_same_image():
    """Both deploy the digest of the single build; prod follows dev, and both follow CI."""
    built = "${{ needs.build.outputs.image_uri }}"
    cd = jobs("cd")
    assert {"dev": built, "prod": built} == {name: cd[name]["with"]["image_uri"] for name in ("dev", "prod")}
    assert ["ci", "build", ["build", "dev", "preview"]] == [cd[name]["needs"] for name in ("build", "dev", "prod")]


@pytest.mark.parametrize("name", ["cd", "monitor", "retrain"])
def test_failure_notifies_the_alarm_topic(name):
    """A failure of any job sends a notification if the repository configures a topic."""
    [(notifier, job)] = [item for item in jobs(name).items() if item[1].get("uses", "").endswith("/notify.yml")]
    assert "failure() && vars.ALARM_TOPIC != ''" == job["if"]
    assert set(jobs(name)) - {notifier} == set(job["needs"])


@pytest.mark.parametrize(("data", "expected"), [("", False), ("photos.zip", True)])
def test_retraining_needs_configured_photos(data, expected):
    """The schedule starts no retraining until the repository configures photos."""
    names = {"vars.ECR_REPOSITORY": REGISTRY, "vars.DATA": data}
    assert expected == evaluate(jobs("retrain")["train"]["if"], names)


def test_monitoring_needs_a_log_of_prod():
    """Each step that needs prod's log is skipped if it does not exist."""
    [always] = [step for step in steps("monitor", "report") if not step.condition]
    assert "log" == always.id
    [report] = [step for step in steps("monitor", "report") if step.id == "report"]
    assert [False, True] == [
        evaluate(report.condition, {"steps.log.outputs.exists": exists}) for exists in ("false", "true")
    ]


def test_report_is_not_published_by_default():
    """The report becomes an artifact only if the repository sets KEEP_REPORT."""
    [upload] = [step for step in jobs("monitor")["report"]["steps"] if "upload-artifact" in step.get("uses", "")]
    assert "vars.KEEP_REPORT == 'true'" in upload["if"]


def test_preview_precedes_the_approval():
    """The run's summary shows the changes for the image of prod, in an environment without reviewers."""
    cd = jobs("cd")
    assert "preview" in cd["prod"]["needs"]
    assert "preview" == cd["preview"]["environment"]["name"]
    assert cd["prod"]["with"]["image_uri"] == cd["preview"]["env"]["IMAGE_URI"]
    [step] = steps("cd", "preview")
    assert step.run.endswith('>> "$GITHUB_STEP_SUMMARY"')


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


def test_pending_approval_does_not_block_the_next_report():
    """Runs of Monitor exclude each other only while they write the report, not while `retrain` waits for reviewers."""
    assert "${{ github.run_id }}" in workflow("monitor")["concurrency"]["group"]
    groups = {name: job["concurrency"]["group"] for name, job in jobs("monitor").items() if "concurrency" in job}
    assert {"report": "monitor"} == groups
