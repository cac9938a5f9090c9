"""Render report.md for the summary page of a workflow: alarms, decision and comparison of two versions."""

from collections.abc import Mapping
from typing import Any

from infra.markdown import table
from infra.report.split_table import list_rows


def render_summary(report: Mapping[str, Any]) -> str:
    """Return the summary as Markdown."""
    period = f"{report['first']} to {report['last']}" if report["first"] else "no request"
    lines = [f"## Report of {period}", "", f"{report['overall']['requests']:,} requests from `{report['source']}`.", ""]
    lines += [f"- **Alarm, {alarm['alarm']}**: {alarm['message']}." for alarm in report["alarms"]] or ["- No alarm."]
    lines += [
        f"- {name.capitalize()} is not judged: {report[name]['reason']}."
        for name in ("drift", "accuracy")
        if not report[name]["judged"]
    ]
    lines += [f"- {'Retrain' if report['retrain'] else 'No retraining'}: {report['retrain_reason']}.", ""]
    return "\n".join(lines + _compare(report["split"]))


def _compare(split: Mapping[str, Any]) -> list[str]:
    if not split["compared"]:
        return []
    header = ("measure", f"champion {split['champion']}", f"challenger {split['challenger']}", "difference")
    rows = table(header, list_rows(split))
    return ["### Two versions", "", f"**{split['recommendation'].capitalize()}**: {split['reason']}.", "", rows, ""]
