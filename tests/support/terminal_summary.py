"""Print skipped tests by reason, and coverage by package, at the end of a test run."""

from collections import Counter

import pytest
from coverage.exceptions import CoverageException

from tests.support import coverage


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    skipped = Counter(map(skip_reason, terminalreporter.getreports("skipped")))
    if skipped:
        terminalreporter.section("skipped", sep="-")
        for reason, count in skipped.most_common():
            terminalreporter.line(f"{count:6}  {reason}")
    if config.pluginmanager.hasplugin("_cov") and not config.option.no_cov:
        terminalreporter.section("coverage of lines and branches", sep="-")
        try:
            for package, share in coverage.measure().items():
                terminalreporter.line(f"{share:6.1f} %  {package}")
        except CoverageException as error:  # an interrupted run leaves no data
            terminalreporter.line(f"not measured: {error}")


def skip_reason(report: pytest.TestReport) -> str:
    """Return why a test was skipped, without the file and line of the skip."""
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    return reason.removeprefix("Skipped: ")
