"""The command line: its table, its JSON, its exit codes, and how long it waits."""

import subprocess
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from starlette.types import ASGIApp

from infra import smoke_test
from infra.emulator.response import HttpResponse
from infra.smoke import run
from infra.smoke.answers import Check, NoAnswer
from infra.smoke.errors import ERRORS
from infra.smoke.expected import Golden, GoldenError
from infra.smoke.report import line
from infra.smoke.run import Row
from lambda_app.app import create_app
from lambda_app.classifier import Classifier
from lambda_app.errors import BadField, Overloaded, RequestError, SlowUpload
from lambda_app.settings import Settings
from tests.infra.smoke.services import changed, page, smoke_of

ROOT = Path(__file__).parents[3]


def test_good_service(released: ASGIApp, tmp_path: Path) -> None:
    """Every row passes, each answer is in the JSON beside what was expected, and the exit code is 0."""
    result = smoke_of(released, tmp_path)
    assert (0, set()) == (result.code, result.failed)
    answer = result.rows["POST /predict cat.jpg"]
    assert 0 < answer["seconds"]
    assert "cat" == answer["expected"]["predicted_class"] == answer["actual"]["predicted_class"]


@pytest.mark.parametrize("public", ["", "/metrics"])
def test_routes_that_are_switched_off(tmp_path: Path, public: str) -> None:
    """A service with fewer `PUBLIC_ROUTES` passes, and the others have to be 404."""
    settings = Settings.from_env({"PUBLIC_ROUTES": public})
    app = create_app(Classifier.load(settings.model_path), settings)
    assert (0, set()) == ((result := smoke_of(app, tmp_path)).code, result.failed)

    def shown(path: str, response: HttpResponse) -> HttpResponse:
        return replace(response, status=200) if path == "/model/info" else response

    assert {"GET /model/info", "GET routes"} == smoke_of(changed(app, shown), tmp_path).failed


def test_table(released: ASGIApp, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A line a check, what differs on the failed ones alone, and a summary."""

    def crash(_: str, response: HttpResponse) -> HttpResponse:
        return response if response.status != 422 else page(response, "Internal\nServer Error", 500, "text/plain")

    result = smoke_of(changed(released, crash), tmp_path)
    printed = [line for line in capsys.readouterr().out.splitlines() if not line.startswith("{")]  # those of the app
    assert len(result.rows) + 1 == len(printed)
    assert f"{len(result.rows) - 1} of {len(result.rows)} checks passed, " in printed[-1]
    [failed] = [line for line in printed if line.startswith("FAIL")]
    assert failed.startswith("FAIL  422 damaged_image: half a photo ")
    assert 'http: expected 422, got 500; type: expected "application/json", got "text/plain"; ' in failed
    assert 'body: "Internal\\nServer Error"' in failed
    assert all(line.startswith("PASS  ") and line.endswith(" ms") for line in printed[:-1] if line != failed)


def test_long_values_are_cut() -> None:
    """A page of HTML does not fill the terminal."""
    assert len(line(Row("GET /", False, 0, {"body": ""}, {"body": "x" * 100_000}))) < 300


def test_late_service(released: ASGIApp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is not healthy at once is asked again; its row holds all of the wait. The clock is a mock."""
    answers, pauses = iter([503, 503]), []
    monkeypatch.setattr(run, "time", SimpleNamespace(sleep=pauses.append, monotonic=lambda: sum(pauses)))

    def late(path: str, response: HttpResponse) -> HttpResponse:
        return replace(response, status=next(answers, 200)) if path == "/health" else response

    result = smoke_of(changed(released, late), tmp_path)
    assert (0, 0.25 + 0.5) == (result.code, result.rows["GET /health"]["seconds"])


def test_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """They double up to five seconds, and the wait ends in time. The clock is a mock: the real one takes as long."""
    pauses: list[float] = []
    monkeypatch.setattr(run, "time", SimpleNamespace(sleep=pauses.append, monotonic=lambda: sum(pauses)))

    def never(_: object) -> HttpResponse:
        raise NoAnswer("nobody there")

    [row] = run.smoke(never, [], wait_s=30)
    assert ([0.25, 0.5, 1, 2, 4, 5, 5, 5, 5], 27.75) == (pauses, row.seconds)


def test_time_is_limited() -> None:
    """A service of which every answer takes long does not hold up a deployment: the rest is not asked."""
    healthy = HttpResponse(200, (("content-type", "application/json"),), b'{"status": "healthy", "model_loaded": true}')
    checks = [Check("first", lambda: ({}, {}))]
    rows = list(run.smoke(lambda _: healthy, checks, wait_s=1, limit_s=0))
    assert [True, False] == [row.passed for row in rows]
    assert {"not asked": "all checks together took more than 0 s"} == rows[1].actual


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
        (["http://pets.example", "--profile", "nobody"], "The config profile (nobody) could not be found"),
    ],
)
def test_bad_arguments(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    """They end with exit code 2 and a line that names the value and what was expected, before anything is asked."""
    with pytest.raises(SystemExit) as ended:
        smoke_test.main(arguments)
    assert 2 == ended.value.code
    assert message in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize("url", ["https://abc123.lambda-url.eu-west-1.on.aws/", "http://127.0.0.1:9 --auth AWS_IAM"])
def test_no_credentials(
    url: str, keys: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A function URL and --auth AWS_IAM want to be signed for, and nothing is asked unsigned instead."""
    for name in keys:
        monkeypatch.delenv(name)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, "/nowhere")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with pytest.raises(SystemExit) as ended:
        smoke_test.main(url.split())
    assert 2 == ended.value.code
    assert "and AWS credentials" in capsys.readouterr().err


@pytest.mark.parametrize("content", [None, "no JSON", "[]", "{}"])
def test_no_golden_answers(content: str | None, tmp_path: Path) -> None:
    """Without them there is nothing to compare with, and the error says what makes them."""
    path = tmp_path / "golden.json"
    if content:
        path.write_text(content)
    with pytest.raises(GoldenError, match=rf"^{path}: expected golden answers, which `make golden` writes"):
        Golden.read(path)


def test_json_that_cannot_be_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One line that names the file."""
    path = tmp_path / "none" / "smoke.json"
    with pytest.raises(SystemExit) as ended:
        smoke_test.main(["http://127.0.0.1:9", "--wait", "0.1", "--json", str(path)])
    assert 2 == ended.value.code
    expected = f"--json {path}: No such file or directory; expected a file that can be written"
    assert capsys.readouterr().err.splitlines()[-1].endswith(expected)


def test_every_error_is_asked_for() -> None:
    """Each code that README lists, but for those that no client can cause."""
    codes = {error.code for error in RequestError.__subclasses__()} - {BadField.code, Overloaded.code, SlowUpload.code}
    assert codes | {"not_found", "method_not_allowed"} == {code for _, code, _ in ERRORS.values()}


@pytest.mark.process
def test_make_hands_everything_over() -> None:
    """`make smoke` calls the module with what was given, and only that."""
    given = ["URL=http://h", "PROFILE=me", "COMMIT=0123abc", "IMAGE_URI=r@sha256:0", "JSON=out.json"]
    done = subprocess.run(
        ["make", "-n", "--no-print-directory", "smoke", *given], cwd=ROOT, capture_output=True, text=True, check=True
    )
    command = " ".join(done.stdout.replace("\\\n", " ").split()).partition("infra.smoke_test ")[2]
    assert '"http://h" --profile "me" --commit "0123abc" --image "r@sha256:0" --json "out.json"' == command
