"""Test the feedback loop: replay photos to the function in Lambda's runtime, and report on its log."""

import json
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import dataclass
from io import BytesIO, StringIO
from pathlib import Path

import pytest
from PIL import Image, ImageEnhance, ImageFilter

from infra.emulator.runtime import lambda_runtime
from infra.emulator.serve import background, local_app
from infra.emulator.sigv4 import read_verifier
from infra.replay.journal import read
from infra.report import __main__ as reporting
from infra.report.log_reader import read as log_of
from tests.conftest import SHARED
from tests.infra.replay.replay_commands import collect, run_evaluation, write_photo
from tests.support import ROOT
from tests.support.drawing import encode_image
from tests.support.emulator import set_keys
from tests.support.held_out_photos import read_held_out
from tests.support.waiting import DEADLINE_S, wait_until

pytestmark = pytest.mark.rie
PHOTOS = 300  # enough for the report to judge drift and accuracy
MISLABELED = 2  # so that the accuracy is below 1
SERVICE = "pet-classifier-test"
Change = Callable[[Image.Image], Image.Image]


@dataclass(frozen=True)
class LoopResult:
    evaluation: dict  # the output of infra.replay.post_deploy_evaluation
    report: dict  # report.json
    code: int  # exit code of the report
    output: str  # of the report
    lines: list[str]  # the log of the function


def run_loop(photos: Path, folder: Path, store: str, *options: str) -> LoopResult:
    """Run replay, evaluation and report against a private function URL. A file replaces CloudWatch."""
    journal, log = folder / "replay.jsonl", folder / "log.jsonl"
    with pytest.MonkeyPatch.context() as environment:
        set_keys(environment)
        with (
            lambda_runtime(env={"SERVICE_NAME": SERVICE}, timeout_s=DEADLINE_S) as runtime,
            background(local_app(runtime, authorized=read_verifier())) as url,
        ):
            assert 0 == collect(url, photos, journal, "--auth", "AWS_IAM", *options)
            wait_for(1 + sum(1 + bool(answer.feedback_status) for answer in read(journal).values()), runtime.lines)
            log.write_text("\n".join(runtime.lines))
    exit_code, evaluation = run_evaluation(journal)
    assert 0 == exit_code
    with pytest.MonkeyPatch.context() as environment, redirect_stdout(StringIO()) as output:
        environment.setenv("MLFLOW_TRACKING_URI", store)
        environment.setattr(reporting, "BASELINE", folder / "none.json")
        code = reporting.main([str(log), "--out", str(folder / "report"), "--synthetic"])
    report = json.loads((folder / "report/report.json").read_text())
    lines = log.read_text().splitlines()
    return LoopResult(evaluation, report, code, output.getvalue(), lines)


def wait_for(requests: int, lines: list[str]) -> None:
    """Wait until the log has this many requests, because a line may follow its answer."""
    wait_until(lambda: sum('"message":"request"' in line for line in lines) >= requests)


def bundled() -> list[tuple[str, bytes]]:
    """Return crops of the bundled cat, for machines without the shared photos."""
    cat = Image.open(ROOT / "data/samples/cat.jpg")
    return [("cat", jpeg(cat.crop((0, 0, cat.width - number, cat.height)))) for number in range(PHOTOS)]


def jpeg(photo: Image.Image) -> bytes:
    return encode_image(photo.convert("RGB"), quality=90)


def write(photos: list[tuple[str, bytes]], folder: Path, change: Change | None = None) -> Path:
    for number, (label, data) in enumerate(photos):
        write_photo(folder / label / f"{number}.jpg", jpeg(change(Image.open(BytesIO(data)))) if change else data)
    return folder


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory, store: str) -> LoopResult:
    folder = tmp_path_factory.mktemp("loop")
    photos = read_held_out(SHARED, "test", PHOTOS) if (SHARED / "data").is_dir() else bundled()
    other = {"cat": "dog", "dog": "cat"}
    photos[:MISLABELED] = [(other[label], data) for label, data in photos[:MISLABELED]]
    return run_loop(write(photos, folder / "photos"), folder, store)


def test_report_matches_the_client(result: LoopResult) -> None:
    """The metrics computed from the log equal those computed from the client's answers."""
    quality = result.report["quality"]["overall"]
    assert PHOTOS == quality["labels"] == result.evaluation["classified"]
    for name in ("accuracy", "accuracy_interval", "class_names", "confusion_matrix", "classes"):
        assert result.evaluation[name] == quality[name]
    assert quality["accuracy"] < 1


def test_report_counts_all_requests(result: LoopResult) -> None:
    """The report counts a request per photo and per feedback, and the one for the class names."""
    overall = result.report["overall"]
    assert (2 * PHOTOS + 1, PHOTOS, 1.0) == (overall["requests"], overall["predictions"], overall["label_coverage"])
    assert [SERVICE] == result.report["services"]
    assert list(result.evaluation["model_versions"]) == list(result.report["versions"])
    assert {"received": PHOTOS, "repeated": 0, "without a prediction": 0} == result.report["feedback"]


def test_replayed_lines_are_synthetic(result: LoopResult) -> None:
    """The reader skips all lines of the replay by default."""
    log = log_of(result.lines)
    assert (0, 0, 3 * PHOTOS + 1) == (len(log.requests), len(log.feedback), log.counts["synthetic"])


def test_function_latency_is_below_client_latency(result: LoopResult) -> None:
    """The client's latency includes the network."""
    for name in ("p50", "p95", "p99"):
        assert 0 < result.report["overall"]["latency_ms"][name] < result.evaluation["latency_ms"][name]


@pytest.mark.photos
def test_test_photos_raise_no_alarm(shared: Path, result: LoopResult) -> None:
    """Drift and accuracy are judged, and match the release."""
    assert (0, [], False) == (result.code, result.report["alarms"], result.report["retrain"])
    assert result.report["drift"]["judged"]
    assert result.report["accuracy"]["judged"]


def dark_and_blurred(photo: Image.Image) -> Image.Image:
    return ImageEnhance.Brightness(photo.convert("RGB").filter(ImageFilter.GaussianBlur(4))).enhance(0.3)


@pytest.mark.photos
def test_edited_photos_raise_an_alarm(shared: Path, store: str, tmp_path: Path) -> None:
    """The report exits with 3 and names the drifted signals, also if only some photos are labeled."""
    photos = write(read_held_out(shared, "test", PHOTOS), tmp_path / "photos", dark_and_blurred)
    found = run_loop(photos, tmp_path, store, "--share", "0.3")
    assert (3, True) == (found.code, {"brightness", "sharpness"} <= set(found.report["drift"]["drifted"]))
    feedback = found.evaluation["feedback"]["accepted"]
    assert 0 < feedback < PHOTOS
    assert feedback / PHOTOS == found.report["overall"]["label_coverage"]
    assert "ALARM, drift: " in found.output
