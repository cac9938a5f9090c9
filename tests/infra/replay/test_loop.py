"""The loop: photos to the function in Lambda's runtime, feedback to it, its own log lines to the report."""

import hashlib
import json
import time
import zipfile
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import dataclass
from io import BytesIO, StringIO
from itertools import islice
from pathlib import Path

import pytest
from PIL import Image, ImageEnhance, ImageFilter

from infra.emulator.runtime import lambda_runtime
from infra.emulator.serve import background, local_app
from infra.emulator.sigv4 import signed_here
from infra.replay import __main__ as collect_feedback
from infra.replay import evaluation as evaluate_post_deploy
from infra.replay.journal import read
from infra.report import __main__ as reporting
from infra.report.log_reader import read as log_of
from tests.conftest import SHARED
from tests.infra.smoke.conftest import KEYS
from tests.infra.test_runtime import needs_rie
from training import config
from training.split import natural_split

pytestmark = needs_rie
ROOT = Path(__file__).parents[3]
PHOTOS = 300  # enough for the report to judge drift, and accuracy by the share that gets feedback
MISLABELLED = 2  # so that not everything is right
SERVICE = "pet-classifier-test"
Change = Callable[[Image.Image], Image.Image]


@dataclass(frozen=True)
class Rehearsal:
    evaluated: dict  # what infra.replay.evaluation wrote
    report: dict  # what infra.report wrote
    code: int  # its exit code
    told: str
    lines: list[str]  # of the function's log


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    """MLflow's, of all reports here: to make one takes seconds."""
    return f"sqlite:///{tmp_path_factory.mktemp('mlflow') / 'mlflow.db'}"


def rehearse(photos: Path, folder: Path, store: str, *options: str) -> Rehearsal:
    """Through a private function URL, as in a deployment; only CloudWatch is a file."""
    journal, log, evaluated = folder / "replay.jsonl", folder / "log.jsonl", folder / "evaluated.json"
    with pytest.MonkeyPatch.context() as environment:
        for name, value in KEYS.items():
            environment.setenv(name, value)
        for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN"):
            environment.delenv(name, raising=False)
        with (
            lambda_runtime(env={"SERVICE_NAME": SERVICE}) as runtime,
            background(local_app(runtime.endpoint, authorized=signed_here())) as url,
        ):
            arguments = [url, str(photos), "--auth", "AWS_IAM", "--output", str(journal), *options]
            assert 0 == collect_feedback.main(arguments)
            wait_for(1 + sum(1 + bool(answer.feedback_status) for answer in read(journal).values()), runtime.lines)
            log.write_text("\n".join(runtime.lines))
    assert 0 == evaluate_post_deploy.main([str(journal), "--json", str(evaluated)])
    with pytest.MonkeyPatch.context() as environment, redirect_stdout(StringIO()) as told:
        environment.setenv("MLFLOW_TRACKING_URI", store)
        code = reporting.main([str(log), "--out", str(folder / "report"), "--synthetic"])
    report = json.loads((folder / "report/report.json").read_text())
    lines = log.read_text().splitlines()
    return Rehearsal(json.loads(evaluated.read_text()), report, code, told.getvalue(), lines)


def wait_for(requests: int, lines: list[str]) -> None:
    """Until so many are logged: a line may come a moment after its answer."""
    deadline = time.monotonic() + 300
    while sum('"message":"request"' in line for line in lines) < requests and time.monotonic() < deadline:
        time.sleep(0.01)


def held_out() -> list[tuple[str, bytes]]:
    """Some photos that the network was not trained on, by the rule of the pipeline, and their labels.

    In an order of no meaning: the archive's has the squares at its end.
    """
    share = config.load(config.Prepare).train_share
    with zipfile.ZipFile(SHARED / "data/dogs-vs-cats.zip") as archive:
        names = sorted(
            (name for name in archive.namelist() if name.endswith(".jpg")),
            key=lambda name: hashlib.sha256(name.encode()).digest(),
        )
        photos = ((Path(name).parent.name.lower(), archive.read(name)) for name in names)
        untrained = (p for p in photos if natural_split(hashlib.sha256(p[1]).hexdigest(), share) == "test")
        return list(islice(untrained, PHOTOS))


def bundled() -> list[tuple[str, bytes]]:
    """Where there are no others: the cat, cut in many ways."""
    cat = Image.open(ROOT / "data/samples/cat.jpg")
    return [("cat", jpeg(cat.crop((0, 0, cat.width - number, cat.height)))) for number in range(PHOTOS)]


def jpeg(photo: Image.Image) -> bytes:
    buffer = BytesIO()
    photo.convert("RGB").save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def write(photos: list[tuple[str, bytes]], folder: Path, change: Change | None = None) -> Path:
    for number, (label, data) in enumerate(photos):
        path = folder / label / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(jpeg(change(Image.open(BytesIO(data)))) if change else data)
    return folder


@pytest.fixture(scope="module")
def rehearsal(tmp_path_factory: pytest.TempPathFactory, store: str) -> Rehearsal:
    folder = tmp_path_factory.mktemp("loop")
    photos = held_out() if SHARED.is_dir() else bundled()
    other = {"cat": "dog", "dog": "cat"}
    photos[:MISLABELLED] = [(other[label], data) for label, data in photos[:MISLABELLED]]
    return rehearse(write(photos, folder / "photos"), folder, store)


def test_the_report_is_as_right_as_the_replay(rehearsal: Rehearsal) -> None:
    """Feedback found its predictions: what the log comes to is what the client saw, photo by photo."""
    quality = rehearsal.report["quality"]["overall"]
    assert PHOTOS == quality["labelled"] == rehearsal.evaluated["classified"]
    for name in ("accuracy", "accuracy_interval", "class_names", "confusion_matrix", "classes"):
        assert rehearsal.evaluated[name] == quality[name]
    assert quality["accuracy"] < 1


def test_the_report_knows_what_was_asked(rehearsal: Rehearsal) -> None:
    """A request for each photo and for each feedback, and the one for the class names, of the service that it was."""
    overall = rehearsal.report["overall"]
    assert (2 * PHOTOS + 1, PHOTOS, 1.0) == (overall["requests"], overall["predictions"], overall["label_coverage"])
    assert [SERVICE] == rehearsal.report["services"]
    assert list(rehearsal.evaluated["model_versions"]) == list(rehearsal.report["versions"])
    assert {"received": PHOTOS, "repeated": 0, "without a prediction": 0} == rehearsal.report["feedback"]


def test_a_rehearsal_is_nobodys_traffic(rehearsal: Rehearsal) -> None:
    """Every line of it says so, and without being asked for none of them counts."""
    log = log_of(rehearsal.lines)
    assert (0, 0, 3 * PHOTOS + 1) == (len(log.requests), len(log.feedback), log.counts["synthetic"])


def test_the_function_is_faster_than_its_client_sees(rehearsal: Rehearsal) -> None:
    """The report's latency is the function's own, the replay's has the way there and back in it."""
    for name in ("p50", "p95", "p99"):
        assert 0 < rehearsal.report["overall"]["latency_ms"][name] < rehearsal.evaluated["latency_ms"][name]


@pytest.mark.photos
def test_photos_like_those_of_the_test_split_alarm_nobody(shared: Path, rehearsal: Rehearsal) -> None:
    """Drift and accuracy were judged, and are as released."""
    assert (0, [], False) == (rehearsal.code, rehearsal.report["alarms"], rehearsal.report["retrain"])
    assert rehearsal.report["drift"]["judged"]
    assert rehearsal.report["accuracy"]["judged"]


def dark_and_blurred(photo: Image.Image) -> Image.Image:
    return ImageEnhance.Brightness(photo.convert("RGB").filter(ImageFilter.GaussianBlur(4))).enhance(0.3)


@pytest.mark.photos
def test_photos_of_another_kind_alarm(shared: Path, store: str, tmp_path: Path) -> None:
    """Exit code 3, and the report names what changed; that only a part has labels does not matter."""
    found = rehearse(write(held_out(), tmp_path / "photos", dark_and_blurred), tmp_path, store, "--share", "0.3")
    assert (3, True) == (found.code, {"brightness", "sharpness"} <= set(found.report["drift"]["drifted"]))
    feedback = found.evaluated["feedback"]["taken"]
    assert 0 < feedback < PHOTOS
    assert feedback / PHOTOS == found.report["overall"]["label_coverage"]
    assert "ALARM, drift: " in found.told
