"""The end of a test run, for someone who sees it for the first time: what was skipped and why, and the coverage."""

from collections import Counter
from contextlib import suppress

import pytest
from coverage.exceptions import NoDataError

from tests.support import coverage


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    skipped = Counter(map(skip_reason, terminalreporter.getreports("skipped")))
    if skipped:
        terminalreporter.section("skipped", sep="-")
        for reason, count in skipped.most_common():
            terminalreporter.line(f"{count:6}  {reason}")
    if config.pluginmanager.hasplugin("_cov") and not config.option.no_cov:
        terminalreporter.section("coverage of lines and branches", sep="-")
        with suppress(NoDataError):  # the run was interrupted
            for package, share in coverage.measure().items():
                terminalreporter.line(f"{share:6.1f} %  {package}")


def skip_reason(report: pytest.TestReport) -> str:
    """Return why a test was skipped, without the file and the line that said so."""
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    return reason.removeprefix("Skipped: ")
