"""Tests of the dry run, which describes photos, parameters and duration, and changes nothing."""

import json
import sys

import pytest
import yaml

from tests.drawing import draw, encode, write_dataset
from tests.training.workspace import write_params
from training import config, dry_run, prepare
from training.fetch import FetchError, place_photos
from training.prepare import SUMMARY
from training.source import SourceError


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
    (photos / "cat/copies/0.jpg").write_bytes(encode(draw("cat", 0, 32)))
    before = files_of(project)
    printed = run("--data", photos, "--classes", "top")
    assert before == files_of(project)
    assert "params.yaml is valid" in printed
    assert "set aside: 1 of cat: empty file" in printed
    assert "minutes or less to prepare and train" in printed
    (project / "data/raw").mkdir()
    place_photos(str(photos), "top", "")
    prepare.main()
    summary = json.loads(SUMMARY.read_text())
    assert f"layout: {summary['layout']}; {summary['photos']} photos of 2 classes" in printed
    assert "set aside: 1 of cat: copy of a photo in another folder" in printed
    counts = [sum(column) for column in zip(*table(printed).values(), strict=True)]
    assert list(summary["splits"].values()) == counts[:3]


def table(printed):
    lines = [line.split() for line in printed.splitlines() if line.startswith(("cat ", "dog "))]
    return {line[0]: list(map(int, line[1:])) for line in lines}


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
    with pytest.raises(FetchError, match="petimages is not downloaded yet; run `make train DATA=petimages`, which"):
        run()


def test_dry_run_reports_unusable_photos(run, tmp_path):
    """Unusable photos are the same error as in the stage."""
    with pytest.raises(SourceError, match="found 1 class"):
        run("--data", write_dataset(tmp_path / "one", {"cat": 3}, size=32))


@pytest.mark.parametrize(("option", "message"), [("--classes", "CLASSES='x'; expected"), ("--split", "SPLIT='x'; exp")])
def test_unknown_choice_is_an_error(run, tmp_path, option, message):
    """An unknown value of CLASSES or SPLIT is an error that lists the known ones."""
    with pytest.raises(FetchError, match=message):
        run("--data", write_dataset(tmp_path / "pets", {"cat": 3, "dog": 3}, size=32), option, "x")
