"""Check the workflows that monitor the deployment, start retraining and notify about failures."""

import re
import tomllib

import pytest

from tests.support import ROOT, commands
from tests.support.github import NAMES, evaluate, execute, jobs, steps, workflow, write_program
from tests.support.sam import REPOSITORY


@pytest.mark.parametrize(("code", "expected"), [(0, 0), (3, 0), (1, 2)])
def test_alarm_does_not_fail_the_monitor_job(tmp_path, code, expected):
    """The job passes if the report sets off an alarm, and fails without a report. It outputs what the report prints.

    A fake Python exits with the report's codes, because CloudWatch is not available.
    """
    write_program(tmp_path, "python", f"#!/bin/sh\necho alarm=true retrain=false\nexit {code}\n")
    command = ["make", "-s", "-o", ".venv/.train", "monitor", f"BIN={tmp_path}", "SOURCE=/aws/lambda/pets"]
    done = commands.execute(*command)
    assert (expected, "alarm=true retrain=false\n") == (done.returncode, done.stdout)


@pytest.mark.parametrize(("retrain", "expected"), [("true", True), ("false", False), ("", False)])
def test_report_starts_retraining(retrain, expected):
    """The job `retrain` runs if the report asks for it, and not because of an alarm."""
    monitor = jobs("monitor")
    assert {"retrain": "${{ steps.report.outputs.retrain }}"} == monitor["report"]["outputs"]
    assert expected == evaluate(monitor["retrain"]["if"], {"needs.report.outputs.retrain": retrain})


def test_report_starts_retraining_only_after_approval():
    """The job `retrain` is in the environment `retrain`, whose reviewers approve it."""
    assert "retrain" == jobs("monitor")["retrain"]["environment"]["name"]


def test_report_has_the_whole_git_history():
    """The report looks up older references in the history, which a checkout omits by default."""
    checkouts = [step["with"] for step in jobs("monitor")["report"]["steps"] if "checkout" in step.get("uses", "")]
    assert ["0"] == [options["fetch-depth"] for options in checkouts]


@pytest.mark.parametrize(("runs", "calls"), [("", 2), ("4711\n4712", 1)])
def test_retraining_starts_at_most_once_a_week(tmp_path, runs, calls):
    """A recent retraining prevents another. A fake `gh` replaces GitHub."""
    write_program(tmp_path, "gh", '#!/bin/sh\necho "$*" >> "$CALLS"\n[ "$1" != run ] || echo "$RUNS"\n')
    [step] = steps("monitor", "retrain")
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin", "CALLS": str(tmp_path / "calls"), "RUNS": runs}
    assert 0 == execute(step, NAMES, tmp_path / "output", **environment).returncode
    [query, *started] = (tmp_path / "calls").read_text().splitlines()
    assert re.fullmatch(r"run list --workflow retrain\.yml --created >=\d{4}-\d\d-\d\d --json databaseId .*", query)
    assert ["workflow run retrain.yml --ref main"][: calls - 1] == started


def test_monitored_log_is_that_of_prod():
    """The workflow reads the log group of template.yaml for the stack of samconfig.toml."""
    stack = tomllib.loads((ROOT / "samconfig.toml").read_text())["prod"]["global"]["parameters"]["stack_name"]
    assert "LogGroupName: !Sub /aws/lambda/${AWS::StackName}\n" in (ROOT / "template.yaml").read_text()
    assert f"/aws/lambda/{stack}" == jobs("monitor")["report"]["env"]["SOURCE"]


@pytest.mark.parametrize("name", ["cd", "monitor", "retrain"])
def test_failure_notifies_the_alarm_topic(name):
    """A failure of any job sends a notification if the repository configures a topic."""
    [(notifier, job)] = [item for item in jobs(name).items() if item[1].get("uses", "").endswith("/notify.yml")]
    assert "failure() && vars.ALARM_TOPIC != ''" == job["if"]
    assert set(jobs(name)) - {notifier} == set(job["needs"])


@pytest.mark.parametrize(("data", "expected"), [("", False), ("photos.zip", True)])
def test_retraining_needs_configured_photos(data, expected):
    """The schedule starts no retraining until the repository configures photos."""
    names = {"vars.ECR_REPOSITORY": REPOSITORY, "vars.DATA": data}
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


def test_pending_approval_does_not_block_the_next_report():
    """Runs of Monitor exclude each other only while they write the report, not while `retrain` waits for reviewers."""
    assert "${{ github.run_id }}" in workflow("monitor")["concurrency"]["group"]
    groups = {name: job["concurrency"]["group"] for name, job in jobs("monitor").items() if "concurrency" in job}
    assert {"report": "monitor"} == groups
