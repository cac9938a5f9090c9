"""Check the workflows of releases and deployments, with fake programs in place of AWS and GitHub."""

import os
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

from tests.support import ROOT, commands
from tests.support.github import (
    DEPLOYMENT,
    NAMES,
    NEW,
    OLD,
    OLDER_SHA,
    SHA,
    URL,
    execute,
    jobs,
    run_job,
    steps,
    write_program,
)
from tests.support.sam import REPOSITORY


def test_release_of_another_version_fails_first():
    """The first command of a release fails if the tag is not the version in pyproject.toml."""
    first = steps("release", "release")[0]
    done = execute(first, NAMES, Path("/dev/null"))
    assert done.returncode == 1
    assert "'v1.2.3': expected v" in done.stderr


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(
            (name, "$(shell touch {0})")
            for name in ("COMMIT", "IMAGE_URI", "CANARY", "ENV", "PREVIOUS", "SHARE", "VERSION")
        ),
        *(("COMMIT", value) for value in ('x"; touch {0}; "', "`touch {0}`", "a b", "$$(touch {0})")),
    ],
)
def test_make_rejects_values_with_commands(name, value, tmp_path):
    """Make fails before the first recipe with a message that shows the value. Nothing evaluates the value."""
    value, target = value.format(tmp_path / "run"), {"VERSION": "back", "SHARE": "split"}.get(name, "deploy")
    done = commands.execute("make", target, f"{name}={value}")
    assert (2, False) == (done.returncode, (tmp_path / "run").exists())
    assert f"{name}={value}: expected letters, digits and" in done.stderr


@pytest.mark.parametrize(
    ("commit", "image", "message"),
    [
        (SHA[:39], NEW, "expected all 40 digits of a commit"),
        ("main", NEW, "expected all 40 digits of a commit"),
        (SHA, f"{REPOSITORY}:latest", "expected REPOSITORY@sha256:DIGEST"),
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
    "-s deployed"*)
        printf '%s\\n' "image_uri=$WAS" "commit=$WAS_COMMIT" "previous_version=$(grep -c deployed "$CALLS")" \\
            auth=AWS_IAM origin= "url=$NOW" ;;
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

    `make back` then returns to the same version as before the failed deployment.
    Fake programs record the calls, because AWS is not available and the commits do not exist.
    """
    write_program(tmp_path, "make", FAKE_MAKE)
    write_program(tmp_path, "git", FAKE_GIT)
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
        # The first call of `deployed` printed the previous version.
        f"deploy ENV=dev CANARY=AllAtOnce IMAGE_URI={OLD} COMMIT={OLDER_SHA} PREVIOUS=1",
        f"smoke ENV=dev URL={URL} IMAGE_URI={OLD} COMMIT={OLDER_SHA}",
    ]
    expected = expected[:calls] if calls > 0 else [*expected[:5], "back ENV=dev"]
    assert expected == (tmp_path / "calls").read_text().splitlines()


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
    write_program(tmp_path, "gh", '#!/bin/sh\necho "$*"\n')
    tag = "v" + tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    command = ["bash", ".github/scripts/create_release.sh", tag, NEW]
    environment = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run(command, check=True, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert NEW in (tmp_path / "artifacts/release-notes.md").read_text()
    assert f"release create {tag} --verify-tag " in done.stdout
    assert done.stdout.endswith("--notes-file artifacts/release-notes.md artifacts/sbom.cdx.json\n")


def test_both_environments_deploy_the_same_image():
    """Both deploy the digest of the single build; prod follows dev and a preview of its changes, and both follow CI.

    The preview writes the changes to the summary of the run, in an environment without reviewers.
    """
    built = "${{ needs.build.outputs.image_uri }}"
    cd = jobs("cd")
    assert {"dev": built, "prod": built} == {name: cd[name]["with"]["image_uri"] for name in ("dev", "prod")}
    assert ["ci", "build", ["build", "dev", "preview"]] == [cd[name]["needs"] for name in ("build", "dev", "prod")]
    assert ("preview", built) == (cd["preview"]["environment"]["name"], cd["preview"]["env"]["IMAGE_URI"])
    [step] = steps("cd", "preview")
    assert step.run.endswith('>> "$GITHUB_STEP_SUMMARY"')
