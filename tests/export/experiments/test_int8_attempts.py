"""Test the measurement of the attempts to quantize, with two of them on drawings."""

import json
import shutil
from contextlib import chdir
from pathlib import Path
from unittest.mock import Mock

import pytest

from export.experiments import int8_attempts
from export.experiments.int8_attempts import ATTEMPTS, FIGURES, name_attempts, render
from export.files import MODEL
from export.quantize import count_float_layers, fold_batch_norms
from tests.export.untrained_models import LENIENT, restamp
from tests.training.workspace import enter_copy, write_params

FIRST, CHOSEN = ATTEMPTS[0], ATTEMPTS[4]


@pytest.fixture(scope="module")
def measured(quantized, tmp_path_factory):
    """Return a project with the figures of the first attempt and of the chosen one."""
    folder = tmp_path_factory.mktemp("measured")
    shutil.copytree(quantized, folder, symlinks=True, dirs_exist_ok=True)
    with chdir(folder), pytest.MonkeyPatch.context() as patch:
        patch.setattr(int8_attempts, "ATTEMPTS", (FIRST, CHOSEN))
        int8_attempts.main()
    return folder


@pytest.fixture
def figures(measured, tmp_path, monkeypatch):
    """Make a copy of the project the working directory, and return its figures."""
    enter_copy(measured, tmp_path, monkeypatch)
    monkeypatch.setattr(int8_attempts, "ATTEMPTS", (FIRST, CHOSEN))
    return read_figures()


def read_figures():
    return json.loads(FIGURES.read_text())


def mark_rows(figures):
    """Change the size in every row, and return which rows the command then measures again."""
    marked = [row | {"mb": 1.25} for row in figures["attempts"]]
    FIGURES.write_text(json.dumps(figures | {"attempts": marked}))
    int8_attempts.main()
    return [row["mb"] != 1.25 for row in read_figures()["attempts"]]


def test_attempts_are_compared_with_fp32(figures):
    """Each attempt has its size and its errors on the validation photos, and none changes every class."""
    assert [FIRST.name, list(name_attempts())[1]] == [row["name"] for row in figures["attempts"]]
    for row in figures["attempts"]:
        assert 0 < row["logit_error"] < 0.2
        assert 0 <= row["changed"] < figures["photos"]


@pytest.mark.parametrize(("share", "phrase"), [(0.0, "the first layer"), (1.0, "the first 3 layers")])
def test_chosen_attempt_is_named_by_its_float_layers(candidates, monkeypatch, share, phrase):
    """The name of the chosen attempt states how many layers stay in float32, because this depends on the network."""
    monkeypatch.setattr("export.quantize.MAX_FLOAT_SHARE", share)
    assert phrase.endswith("layer") == (count_float_layers(fold_batch_norms(MODEL)) == 1)
    assert f"also {phrase} in float32 (chosen)" in name_attempts()


def test_finished_attempts_are_kept(figures):
    """If an attempt is missing, the next run measures only this one, and keeps the order of the rows."""
    missing, kept = figures["attempts"]
    FIGURES.write_text(json.dumps(figures | {"attempts": [kept | {"mb": 1.25}]}))
    int8_attempts.main()
    rows = read_figures()["attempts"]
    assert [missing["name"], kept["name"]] == [row["name"] for row in rows]
    assert [missing["mb"], 1.25] == [row["mb"] for row in rows]


def test_attempts_with_other_photos_or_model_are_measured_again(figures):
    """Figures with other calibration photos or of another model are measured again, and the same ones are kept."""
    assert [False, False] == mark_rows(figures)
    write_params(Path(), prepare__train_share=0.6, quantize__photos=10, **LENIENT)
    assert [True, True] == mark_rows(figures)
    figures = read_figures()
    restamp(MODEL, model_version="another")
    assert [True, True] == mark_rows(figures)


def test_interrupted_write_keeps_the_figures(figures, monkeypatch):
    """If the command is interrupted while it writes, the figures of finished attempts are still complete."""
    FIGURES.write_text(json.dumps(figures | {"attempts": figures["attempts"][:1]}))
    monkeypatch.setattr(Path, "replace", Mock(side_effect=KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        int8_attempts.main()
    assert figures["attempts"][:1] == read_figures()["attempts"]


def test_table_has_a_row_for_each_attempt(figures):
    """The table names every attempt with its error in percent."""
    rows = render().splitlines()[2:]
    assert [f"| {row['name']} " for row in figures["attempts"]] == [row[: row.index("|", 1)] for row in rows]
