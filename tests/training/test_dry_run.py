"""Test the dry run, which describes photos, parameters and duration, and changes nothing."""

import re
import sys

import pytest
import yaml

from tests.support.drawing import draw, encode_image, write_dataset
from tests.training.workspace import write_params
from training import config, dry_run, estimate, prepare
from training.fetch import place_photos
from training.figures import read_figures
from training.interruption import UserError
from training.source import Source, SourceError
from training.split import Row


@pytest.fixture
def run(project, monkeypatch, capsys):
    """Return `python -m training.dry_run` as a function that returns what it prints, in a project with a catalog."""
    (project / "data").mkdir()
    (project / "data/datasets.yaml").write_text("petimages: {file: pets.zip}\n")
    write_params(project, prepare__train_share=0.6)

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["dry_run", *map(str, arguments)])
        dry_run.main()
        return capsys.readouterr().out

    return run


def files_of(folder):
    return {path: path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


def test_dry_run_changes_nothing(run, project, tmp_path_factory):
    """No file of the project is created or changed, and the overview has the counts of `prepare`."""
    photos = write_dataset(tmp_path_factory.mktemp("mine"), {"cat": 30, "dog": 25}, size=32)
    (photos / "cat/empty.jpg").write_bytes(b"")
    (photos / "cat/copies").mkdir()
    (photos / "cat/copies/0.jpg").write_bytes(encode_image(draw("cat", 0, 32)))
    before = files_of(project)
    printed = run("--data", photos, "--classes", "top")
    assert before == files_of(project)
    assert "params.yaml is valid" in printed
    assert "set aside: 1 of cat: empty file" in printed
    assert re.search(r"^estimate: \d+\.\d minutes to prepare and train on the CPU$", printed, re.MULTILINE)
    (project / "data/raw").mkdir()
    place_photos(str(photos), "top", "")
    prepare.main()
    summary = read_figures("prepare")
    assert f"layout: {summary['layout']}; {summary['photos']} photos of 2 classes" in printed
    assert "set aside: 1 of cat: copy of a photo in another folder" in printed
    counts = [sum(column) for column in zip(*table(printed).values(), strict=True)]
    assert list(summary["splits"].values()) == counts[:3]


def test_dry_run_keeps_the_last_choice(run, project, tmp_path):
    """Without DATA, the dry run reads the last photos with the last CLASSES, as the training does."""
    photos = tmp_path / "mine"
    for number, place in enumerate(("cat/persian", "cat/siamese", "dog/beagle", "dog/pug")):
        (photos / place).mkdir(parents=True)
        for seed in range(10 * number, 10 * number + 10):
            (photos / place / f"{seed}.jpg").write_bytes(encode_image(draw(place[:3], seed, 32)))
    (project / "data/raw").mkdir()
    place_photos(str(photos), "top", "")
    assert "photos of 2 classes" in run()


def table(printed):
    lines = [line.split() for line in printed.splitlines() if line.startswith(("cat ", "dog "))]
    return {line[0]: list(map(int, line[1:])) for line in lines}


def test_estimate_counts_the_work_of_all_epochs(project, monkeypatch):
    """The minutes are those of preparing, of the repeated photos and of validation, on all cores.

    The measured times are replaced by fixed ones, because they depend on the machine.
    """
    write_params(
        project, prepare__train_share=0.6, train__epochs=6, train__min_steps=60, train__perfect_epochs=2
    )  # 10 steps with 16 photos in each epoch
    monkeypatch.setattr(estimate, "time_each", lambda *_: 0.5)
    monkeypatch.setattr(estimate, "time_step", lambda pixels, *_: 3.0 * len(pixels))
    monkeypatch.setattr(estimate.os, "sched_getaffinity", lambda _: {0, 1})
    photos = write_dataset(project / "mine", {"cat": 50, "dog": 50}, size=32)
    rows = [
        Row(f"{label}/{n}.jpg", label=label, split=split)
        for label in ("cat", "dog")
        for n, split in enumerate(["train"] * 40 + ["val"] * 10)
    ]
    minutes = estimate.estimate(Source(photos), rows)
    epoch = 160 * (0.5 + 3.0) + 20 * (0.5 + 1.0)
    start = estimate.START_S + 100 * 0.5
    assert (start + 2 * epoch, start + 6 * epoch) == pytest.approx((minutes.shortest * 120, minutes.longest * 120))
    assert str(minutes).startswith(
        f"{minutes.shortest:.1f} minutes to prepare and train on the CPU if validation finds no mistake"
    )


@pytest.mark.parametrize("section", ["prepare", "train", "verify", "release"])
def test_dry_run_checks_every_section(run, project, section):
    """A typo in any section of params.yaml is an error before photos are read."""
    params = yaml.safe_load((project / "params.yaml").read_text())
    params[section]["typo"] = 1
    (project / "params.yaml").write_text(yaml.safe_dump(params))
    with pytest.raises(config.ConfigError, match=f"section '{section}': typo"):
        run("--data", "nowhere")


def test_dry_run_downloads_nothing(run):
    """A data set that is not downloaded yet is an error that names the command."""
    with pytest.raises(UserError, match="petimages is not downloaded yet; run `make train DATA=petimages`, which"):
        run()


def test_dry_run_reports_unusable_photos(run, tmp_path):
    """Unusable photos are the same error as in the stage."""
    with pytest.raises(SourceError, match="found 1 class"):
        run("--data", write_dataset(tmp_path / "one", {"cat": 3}, size=32))


@pytest.mark.parametrize(("option", "message"), [("--classes", "CLASSES='x'; expected"), ("--split", "SPLIT='x'; exp")])
def test_unknown_choice_is_an_error(run, tmp_path, option, message):
    """An unknown value of CLASSES or SPLIT is an error that lists the known ones."""
    with pytest.raises(UserError, match=message):
        run("--data", write_dataset(tmp_path / "pets", {"cat": 3, "dog": 3}, size=32), option, "x")


def damage(folder, names):
    for name in names:
        (folder / name).write_bytes((folder / name).read_bytes()[:-200])


def test_estimate_leaves_damaged_photos_out(run, tmp_path):
    """A photo with damaged pixels, which the dry run does not detect, does not end the estimate."""
    photos = write_dataset(tmp_path / "pets", {"cat": 12, "dog": 12}, size=64)
    damage(photos, ["cat/0.jpg"])
    assert "estimate: " in run("--data", photos)


def test_estimate_of_damaged_photos_is_an_error(run, tmp_path):
    """If no photo of the sample can be decoded, one line states this."""
    photos = write_dataset(tmp_path / "pets", {"cat": 12, "dog": 12}, size=64)
    damage(photos, [f"{label}/{seed}.jpg" for label in ("cat", "dog") for seed in range(12)])
    with pytest.raises(SourceError, match="none of 24 photos can be decoded"):
        run("--data", photos)
