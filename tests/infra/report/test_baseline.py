"""`make baseline`: a good week by which drift is judged."""

import json
import re

import pytest

from infra.report import benchmark
from infra.report.baseline import MOST, main
from infra.report.drift import JUDGED, Reference
from infra.report.log_reader import read
from tests.infra.report.lines import prediction


def written(folder, lines, *options):
    (folder / "log.jsonl").write_text("".join(f"{line}\n" for line in lines))
    return main([str(folder / "log.jsonl"), "--out", str(folder / "baseline.json"), *options])


def test_a_sample_of_the_week(tmp_path, capsys):
    """Whole rows of what the log says, of the version that serves, in no order; without ids, times and labels."""
    lines = [json.dumps(line) for line in benchmark.traffic(5000)]
    old = [prediction(number, model_version="old") for number in range(300)]
    assert 0 == written(tmp_path, [*old, *lines])
    values = json.loads((tmp_path / "baseline.json").read_text())
    assert [{"model_version", "photos", "columns"}, set(JUDGED)] == [set(values), set(values["columns"])]
    found = Reference.read(tmp_path / "baseline.json", labelled=False)
    assert (MOST, "photos of a good week") == (len(found), found.what)
    logged = read(lines).requests
    rows, all_rows = ([*zip(*(table[name] for name in JUDGED), strict=True)] for table in (found.columns, logged))
    assert set(rows) <= set(all_rows)
    assert rows != all_rows[:MOST]


def test_too_few_photos_are_no_week(tmp_path, capsys):
    """In one line, with their number; rehearsals count where they are asked for."""
    lines = [prediction(number, synthetic=number >= 300) for number in range(600)]
    assert 1 == written(tmp_path, lines)
    assert (
        "baseline: the log has 300 predictions of 1 with every signal; expected 500 or more\n"
        == capsys.readouterr().err
    )
    assert 0 == written(tmp_path, lines, "--synthetic")


def test_of_an_idle_week_there_is_none(tmp_path, capsys):
    """Nor of a log that is not there."""
    assert 1 == written(tmp_path, [])
    assert 1 == main([str(tmp_path), "--out", str(tmp_path / "out")])
    assert re.fullmatch(r"baseline: the log has 0 .*\nbaseline: \S+ is a folder; .*\n", capsys.readouterr().err)


@pytest.mark.parametrize("spoil", [lambda values: [values], lambda values: {**values, "columns": {}}])
def test_a_baseline_that_lacks_something_is_named(tmp_path, spoil):
    """With the command that writes a good one."""
    written(tmp_path, [prediction(number) for number in range(500)])
    path = tmp_path / "baseline.json"
    path.write_text(json.dumps(spoil(json.loads(path.read_text()))))
    with pytest.raises(ValueError, match=r"baseline\.json: .*; expected the file that `make baseline` writes$"):
        Reference.read(path, labelled=False)
