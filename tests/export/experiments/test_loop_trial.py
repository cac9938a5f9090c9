"""End-to-end tests of the feedback loop: serve, contribute mistakes, harvest, review, retrain, and compare."""

import json
import sys
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from export.experiments import loop_trial
from export.experiments.loop_figures import render
from export.experiments.loop_trial import TrialFigures, choose_photos, parse_override, project, run
from export.experiments.trial_server import serve
from tests.export.untrained_models import LENIENT
from tests.support.drawing import draw, encode_image, write_dataset
from tests.support.mlflow_stores import write_store
from tests.training.workspace import SMALL
from training.interruption import UserError

# The network has few channels and relies on color, so that it misclassifies cats with the fur of dogs.
PARAMS = (
    SMALL
    | {name.replace("__", "."): value for name, value in LENIENT.items()}
    | {"train.epochs": 3, "train.min_steps": 60, "release.margin": 0.1}
)


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Return a folder of orange cats, brown dogs and brown cats."""
    folder = write_dataset(tmp_path_factory.mktemp("drawn"), {"cat": 150, "dog": 150})
    for seed in range(150):
        brown = draw("cat", 10_000 + seed, fur_of="dog")
        (folder / f"cat/brown_{seed}.jpg").write_bytes(encode_image(brown))
    return folder


@pytest.fixture
def figures(photos, tmp_path):
    """Return the figures of a trial whose contributions are in a folder, as in `make loop-trial`."""
    storage = tmp_path / "contributions"
    storage.mkdir()
    with project(tmp_path / "trial", PARAMS):
        write_store(Path())
        return run(*choose_photos(photos, "cat/brown_*", 300), str(storage))


@pytest.mark.rie
def test_loop_learns_from_mistakes(figures):
    """The second model is promoted: it is right on more held-back corrections, and no worse on the test photos."""
    corrections, paired = figures.corrections, figures.paired
    assert (300, 150) == (figures.base_photos, figures.shown)
    assert figures.mistakes >= 40
    assert figures.accepted >= 0.9 * figures.mistakes
    assert corrections["photos"] >= 5
    assert corrections["challenger"] > corrections["champion"] + corrections["photos"] / 2
    assert paired["lost"] <= paired["gained"] + 1
    assert figures.promoted, figures.reason
    sentence = "of {photos} photos that users corrected, the challenger classifies {challenger} correctly"
    assert sentence.format(**corrections) in figures.reason


ARGUMENTS = {"kind": "cat/brown_*", "params": {"train.epochs": 3}}
FIGURES = TrialFigures(
    date="2026-01-02",
    base_photos=1500,
    shown=90,
    mistakes=60,
    held=7,
    accepted=58,
    corrections={"photos": 8, "challenger": 6, "champion": 0},
    before=0.96875,
    after=0.975,
    paired={"photos": 160},
    promoted=True,
    reason="better",
)


def test_figures_are_rendered(tmp_path):
    """The text has every figure of the trial, or states that there are none."""
    path = tmp_path / "figures.json"
    assert "Not measured on real photos yet." == render(path)
    path.write_text(json.dumps(ARGUMENTS | asdict(FIGURES)))
    assert [
        "Measured on 2026-01-02 with 1,500 photos, without `cat/brown_*`, and `train.epochs=3`:",
        "",
        "- In service, the first model misclassified 60 of 90 photos of the left-out kind.",
        "- The audit proposed to hold 7 of them; the reviewer accepted 58.",
        "- 8 corrections were reserved for the comparison. The first model is right on 0, the second one on 6.",
        "- Accuracy on 160 test photos: 96.88 % before, 97.50 % after.",
        "- The second model was promoted.",
    ] == render(path).splitlines()
    rejected = replace(FIGURES, promoted=False, reason="too few photos; add some")
    path.write_text(json.dumps(ARGUMENTS | asdict(rejected)))
    assert "- The second model was not promoted. The reason: too few photos." == render(path).splitlines()[-1]


def test_command_records_figures(photos, tmp_path, monkeypatch):
    """The command splits the photos by kind, creates a folder for contributions, and writes the figures as JSON.

    The trial itself is replaced, because it takes minutes; `test_loop_learns_from_mistakes` runs it.
    """
    calls = {}

    def record(base, left_out, contributions):
        calls.update(base=len(base), left_out=len(left_out), is_folder=Path(contributions).is_dir())
        return FIGURES

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(loop_trial, "run", record)
    monkeypatch.setattr(loop_trial, "FIGURES", tmp_path / "figures.json")
    arguments = [str(photos), "--kind", "cat/brown_*", "--photos", "100", "--params", "train.epochs=1"]
    monkeypatch.setattr(sys, "argv", ["loop_trial", *arguments])
    loop_trial.main()
    assert {"base": 100, "left_out": 150, "is_folder": True} == calls
    written = json.loads((tmp_path / "figures.json").read_text())
    assert ("cat/brown_*", {"train.epochs": 1}) == (written["kind"], written["params"])
    with pytest.raises(UserError, match=r"artifacts/loop-trial exists; delete it"):
        loop_trial.main()


def test_kind_without_photos_is_named(tmp_path):
    """A pattern that matches no photo is an error that shows the name of one."""
    photos = write_dataset(tmp_path / "few", {"cat": 20, "dog": 20}, size=32)
    with (
        project(tmp_path / "trial", PARAMS),
        pytest.raises(UserError, match=r"'bird/\*' matches 0 of \d+ photos"),
    ):
        choose_photos(photos, "bird/*", 100)


@pytest.mark.parametrize("text", ["train.epochs", "epochs=3"])
def test_invalid_override_is_named(text):
    """A parameter without section or value is an error that shows an example."""
    with pytest.raises(UserError, match=rf"'{text}': expected SECTION.KEY=VALUE"):
        parse_override(text)


@pytest.mark.rie
def test_model_that_does_not_load_is_an_error(tmp_path):
    """If the function cannot load the model, the trial stops with the status of its response."""
    (tmp_path / "model.onnx").write_bytes(b"no model")
    with pytest.raises(UserError, match="POST /predict answered 502"), serve(tmp_path / "model.onnx") as client:
        client.classify(encode_image(draw("cat", 1)))
