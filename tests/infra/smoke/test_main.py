"""Test the command line: its table, JSON, exit codes and waiting."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from starlette.types import ASGIApp

from infra.emulator.response import HttpResponse
from infra.smoke import __main__ as command
from infra.smoke import runner
from infra.smoke.checks import ERRORS, health_check
from infra.smoke.messages import NoAnswer
from infra.smoke.runner import Check, CheckResult
from lambda_app.app import create_app
from lambda_app.classifier import Classifier
from lambda_app.errors import BadField, NoExplanation, Overloaded, RequestError, SlowUpload
from lambda_app.settings import Settings
from tests.infra.smoke.faulty_services import changed, page, smoke_app
from tests.support.commands import run, run_refused
from tests.support.http_server import refusing_url


def test_good_service_passes(released: ASGIApp, tmp_path: Path) -> None:
    """Every row passes, the JSON holds expected and actual answers, and the exit code is 0."""
    result = smoke_app(released, tmp_path)
    assert (0, set()) == (result.code, result.failed), "run `make golden` if the model changed"
    answer = result.rows["POST /predict cat.jpg"]
    assert 0 < answer["seconds"]
    assert "cat" == answer["expected"]["predicted_class"] == answer["actual"]["predicted_class"]


@pytest.mark.parametrize("public", ["", "/metrics"])
def test_disabled_routes_must_answer_404(tmp_path: Path, public: str) -> None:
    """A service with fewer `PUBLIC_ROUTES` passes if the disabled ones answer 404."""
    settings = Settings.from_env({"PUBLIC_ROUTES": public})
    app = create_app(Classifier.load(settings.model_path), settings)
    assert (0, set()) == ((result := smoke_app(app, tmp_path)).code, result.failed)

    def enable(path: str, response: HttpResponse) -> HttpResponse:
        return replace(response, status=200) if path == "/model/info" else response

    assert {"GET /model/info", "GET routes"} == smoke_app(changed(app, enable), tmp_path).failed


def test_table_shows_differences_of_failed_checks(
    released: ASGIApp, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The table has one line per check and a summary; only failed checks show what differs."""

    def crash(_: str, response: HttpResponse) -> HttpResponse:
        return response if response.status != 422 else page(response, "Internal\nServer Error", 500, "text/plain")

    result = smoke_app(changed(released, crash), tmp_path)
    printed = [line for line in capsys.readouterr().out.splitlines() if not line.startswith("{")]  # the app logs JSON
    assert len(result.rows) + 1 == len(printed)
    assert f"{len(result.rows) - 1} of {len(result.rows)} checks passed, " in printed[-1]
    [failed] = [line for line in printed if line.startswith("FAIL")]
    assert failed.startswith("FAIL  422 damaged_image: a truncated photo ")
    assert 'http: expected 422, got 500; type: expected "application/json", got "text/plain"; ' in failed
    assert 'body: "Internal\\nServer Error"' in failed
    assert all(line.startswith("PASS  ") and line.endswith(" ms") for line in printed[:-1] if line != failed)


def test_format_result_shortens_long_values() -> None:
    """A long HTML page is cut to one line of under 300 characters."""
    assert len(command.format_result(CheckResult("GET /", False, 0, {"body": ""}, {"body": "x" * 100_000}))) < 300


def test_late_service_is_retried(released: ASGIApp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The health check retries, and its row holds the whole wait. The clock is a mock."""
    answers, pauses = iter([503, 503]), []
    monkeypatch.setattr(runner, "time", SimpleNamespace(sleep=pauses.append, monotonic=lambda: sum(pauses)))

    def late(path: str, response: HttpResponse) -> HttpResponse:
        return replace(response, status=next(answers, 200)) if path == "/health" else response

    result = smoke_app(changed(released, late), tmp_path)
    assert (0, 0.25 + 0.5) == (result.code, result.rows["GET /health"]["seconds"])


def test_pauses_double_up_to_five_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses between retries double up to 5 s, and the wait ends in time. The clock is a mock."""
    pauses: list[float] = []
    monkeypatch.setattr(runner, "time", SimpleNamespace(sleep=pauses.append, monotonic=lambda: sum(pauses)))

    def never(_: object) -> HttpResponse:
        raise NoAnswer("connection refused")

    [row] = runner.run_checks(health_check(never), [], wait_s=30)
    assert ([0.25, 0.5, 1, 2, 4, 5, 5, 5, 5], 27.75) == (pauses, row.seconds)


def test_late_service_is_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    """The wait for the service does not count toward the time limit of the other checks. The clock is a mock."""
    pauses: list[float] = []
    monkeypatch.setattr(runner, "time", SimpleNamespace(sleep=pauses.append, monotonic=lambda: sum(pauses)))

    def answer_late() -> runner.Pair:
        return {}, {"late": True} if sum(pauses) < 2 * runner.LIMIT_S else {}

    checks = [Check("first", lambda: ({}, {}))]
    rows = list(runner.run_checks(Check("health", answer_late), checks, wait_s=3 * runner.LIMIT_S))
    assert [True, True] == [row.passed for row in rows]


def test_total_time_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    """After the time limit, the remaining checks fail without a request."""
    monkeypatch.setattr(runner, "LIMIT_S", 0.0)
    healthy = HttpResponse(200, (("content-type", "application/json"),), b'{"status": "healthy", "model_loaded": true}')
    checks = [Check("first", lambda: ({}, {}))]
    rows = list(runner.run_checks(health_check(lambda _: healthy), checks, wait_s=1))
    assert [True, False] == [row.passed for row in rows]
    assert {"not run": "the checks before took more than 0 s"} == rows[1].actual


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["pets.example"], "'pets.example': expected http:// or https:// and a host, no path"),
        (["https://pets.example/predict"], "expected http:// or https:// and a host, no path"),
        (["http://[::1"], "expected http:// or https:// and a host, no path"),
        (["http://pets.example:99999"], "expected http:// or https:// and a host, no path"),
        ([""], "'': expected http:// or https:// and a host, no path"),
        (["http://pets.example", "--origin", "*"], "'*': expected http:// or https:// and a host, no path"),
        (["http://pets.example", "--wait", "soon"], "'soon': expected a positive number of seconds"),
        (["http://pets.example", "--timeout", "0"], "'0': expected a positive number of seconds"),
        (["http://pets.example", "--timeout", "inf"], "'inf': expected a positive number of seconds"),
        (["http://pets.example", "--profile", "absent"], "The config profile (absent) could not be found"),
    ],
)
def test_invalid_arguments_exit_with_2(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    """An invalid argument exits with 2 and a line that names the value and the expectation."""
    assert message in run_refused(command.main, arguments, capsys)


@pytest.mark.usefixtures("without_keys")
@pytest.mark.parametrize("url", ["https://abc123.lambda-url.eu-west-1.on.aws/", "http://127.0.0.1:9 --auth AWS_IAM"])
def test_private_url_without_credentials_exits_with_2(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A function URL and --auth AWS_IAM require credentials; no unsigned request is sent instead."""
    assert "and AWS credentials" in run_refused(command.main, url.split(), capsys)


def test_unwritable_json_exits_with_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A JSON file that cannot be written exits with 2 and a line that names it."""
    path = tmp_path / "none" / "smoke.json"
    with refusing_url() as url:
        message = run_refused(command.main, [url, "--wait", "0.1", "--json", str(path)], capsys)
    assert message.endswith(f"--json {path}: No such file or directory; expected a file that can be written")


def test_errors_cover_every_client_error() -> None:
    """`ERRORS` has every error code that one request can cause, except `bad_field`, `no_explanation` and those of
    contributions, which the smoke test must not send.
    """
    contributions = {"contributions_off", "cross_origin", "no_consent", "storage_failed", "too_many_contributions"}
    codes = {error.code for error in RequestError.__subclasses__()} - {
        BadField.code,
        NoExplanation.code,
        Overloaded.code,
        SlowUpload.code,
    }
    assert contributions < codes
    assert codes - contributions | {"not_found", "method_not_allowed"} == {code for _, code, _ in ERRORS.values()}


@pytest.mark.process
def test_make_smoke_passes_every_variable() -> None:
    """`make smoke` passes exactly the given variables as options."""
    variables = ["URL=http://h", "PROFILE=me", "COMMIT=0123abc", "IMAGE_URI=r@sha256:0", "JSON=out.json"]
    recipe = run("make", "-n", "--no-print-directory", "smoke", *variables)
    command = " ".join(recipe.replace("\\\n", " ").split()).partition("infra.smoke ")[2]
    assert '"http://h" --profile "me" --commit "0123abc" --image "r@sha256:0" --json "out.json"' == command
